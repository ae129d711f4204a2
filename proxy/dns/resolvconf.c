#include "proxy/dns/resolvconf.h"

#define TIMEOUT_MAX_S 30

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of a line; empty at its end. */
static struct fl_span take_word(struct fl_span *rest)
{
    size_t begin = 0, end;
    while (begin < rest->len && is_blank(rest->data[begin]))
        begin++;
    for (end = begin; end < rest->len && !is_blank(rest->data[end]);)
        end++;
    struct fl_span word = {rest->data + begin, end - begin};
    *rest = fl_span_from(*rest, end);
    return word;
}

static void take_server(struct fl_span rest, struct proxy_resolvconf *conf)
{
    struct proxy_address address;
    if (conf->count < PROXY_RESOLVCONF_SERVERS &&
        proxy_address_parse(take_word(&rest), PROXY_RESOLVCONF_PORT, &address) == 0)
        conf->servers[conf->count++] = address;
}

static void take_options(struct fl_span rest, struct proxy_resolvconf *conf)
{
    static const struct fl_span timeout = {"timeout:", 8};
    for (struct fl_span word; (word = take_word(&rest)).len > 0;) {
        uint64_t number;
        if (fl_span_starts_with(word, timeout) &&
            fl_span_to_u64(fl_span_from(word, timeout.len), UINT32_MAX, &number) && number > 0)
            conf->timeout_s = number < TIMEOUT_MAX_S ? (unsigned)number : TIMEOUT_MAX_S;
        conf->rotate = conf->rotate || fl_span_eq_str(word, "rotate");
        conf->use_vc = conf->use_vc || fl_span_eq_str(word, "use-vc");
    }
}

void proxy_resolvconf_parse(struct fl_span text, struct proxy_resolvconf *ret_conf)
{
    struct proxy_resolvconf conf = {.timeout_s = PROXY_RESOLVCONF_TIMEOUT_S};
    for (struct fl_span line; fl_span_split(&text, '\n', &line);) {
        if (line.len == 0 || is_blank(line.data[0]))
            continue;
        struct fl_span word = take_word(&line);
        if (fl_span_eq_str(word, "nameserver"))
            take_server(line, &conf);
        else if (fl_span_eq_str(word, "options"))
            take_options(line, &conf);
    }
    if (conf.count == 0)
        take_server(FL_SPAN("127.0.0.1"), &conf);
    *ret_conf = conf;
}

bool proxy_resolvconf_eq(const struct proxy_resolvconf *a, const struct proxy_resolvconf *b)
{
    bool same =
        a->count == b->count && a->timeout_s == b->timeout_s && a->rotate == b->rotate && a->use_vc == b->use_vc;
    for (size_t i = 0; same && i < a->count; i++)
        same = proxy_address_eq(&a->servers[i], &b->servers[i]);
    return same;
}
