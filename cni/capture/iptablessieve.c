#include "cni/capture/iptablessieve.h"

#include "cni/capture/iptablestext.h"

#include <errno.h>

#define LINE_MAX_BYTES (64u << 10)

void cni_iptables_sieve_init(struct cni_iptables_sieve *sieve, struct fl_buf *out)
{
    *sieve = (struct cni_iptables_sieve){.out = out};
    fl_buf_init(&sieve->line, LINE_MAX_BYTES);
}

void cni_iptables_sieve_done(struct cni_iptables_sieve *sieve)
{
    fl_buf_done(&sieve->line);
}

static bool is_about_us(struct fl_span line)
{
    return memmem(line.data, line.len, CNI_IPTABLES_PREFIX, sizeof(CNI_IPTABLES_PREFIX) - 1) != NULL;
}

static int keep(struct cni_iptables_sieve *sieve, struct fl_span line)
{
    int result = fl_buf_append(sieve->out, line);
    return result == 0 ? fl_buf_append_byte(sieve->out, '\n') : result;
}

static void enter_chain(struct cni_iptables_sieve *sieve, struct fl_span name)
{
    if (name.len > sizeof(sieve->chain))
        name.len = sizeof(sieve->chain);
    if (fl_span_eq(name, fl_span_make(sieve->chain, sieve->len)))
        return;
    memcpy(sieve->chain, name.data, name.len);
    sieve->len = name.len;
    sieve->skipped = false;
}

static int take_rule(struct cni_iptables_sieve *sieve, struct fl_span line)
{
    struct fl_span rest = fl_span_from(line, 3);
    int result = 0;
    enter_chain(sieve, fl_span_make(rest.data, fl_span_find(rest, ' ')));
    if (!is_about_us(line)) {
        sieve->skipped = true;
        return 0;
    }
    if (sieve->skipped)
        result = keep(sieve, fl_span_make(line.data, 3 + sieve->len));
    sieve->skipped = false;
    return result == 0 ? keep(sieve, line) : result;
}

static int take_line(struct cni_iptables_sieve *sieve, struct fl_span line)
{
    if (fl_span_starts_with(line, FL_SPAN("-A ")) && line.len > 3)
        return take_rule(sieve, line);
    if (fl_span_starts_with(line, FL_SPAN("*"))) {
        sieve->len = 0;
        sieve->skipped = false;
        return keep(sieve, line);
    }
    return line.len > 0 && is_about_us(line) ? keep(sieve, line) : 0;
}

int cni_iptables_sieve_feed(struct cni_iptables_sieve *sieve, struct fl_span bytes)
{
    sieve->total += bytes.len;
    if (sieve->total > CNI_IPTABLES_OUTPUT_MAX)
        return -EMSGSIZE;
    while (bytes.len > 0) {
        size_t end = fl_span_find(bytes, '\n');
        int result = fl_buf_append(&sieve->line, fl_span_make(bytes.data, end));
        if (result < 0 || end == bytes.len)
            return result;
        result = take_line(sieve, fl_buf_span(&sieve->line));
        fl_buf_clear(&sieve->line);
        if (result < 0)
            return result;
        bytes = fl_span_from(bytes, end + 1);
    }
    return 0;
}
