#include "cli/check/certificate.h"

#include "common/pki/cert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char begin_mark[] = "-----BEGIN CERTIFICATE-----";
static const char end_mark[] = "-----END CERTIFICATE-----";

/* The next block of a PEM text. False: there is none. */
static bool next_block(struct fl_span *pem, struct fl_span *ret_block)
{
    const char *start = pem->len > 0 ? memmem(pem->data, pem->len, begin_mark, sizeof(begin_mark) - 1) : NULL;
    if (start == NULL)
        return false;
    struct fl_span rest = fl_span_from(*pem, (size_t)(start - pem->data));
    const char *end = memmem(rest.data, rest.len, end_mark, sizeof(end_mark) - 1);
    if (end == NULL)
        return false;
    *ret_block = fl_span_make(start, (size_t)(end - start) + sizeof(end_mark) - 1);
    *pem = fl_span_from(rest, ret_block->len);
    return true;
}

static int look_at(struct fl_span block, int64_t now, struct cli_life *life, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *cert = NULL;
    time_t from, until;
    int result = fl_cert_parse(block, &cert, err);
    if (result < 0)
        return result;
    fl_cert_validity(cert, &from, &until);
    life->first = life->count == 0 || until < life->first ? until : life->first;
    life->last = life->count == 0 || until > life->last ? until : life->last;
    life->expired += until <= now;
    life->early += from > now;
    life->count++;
    return 0;
}

int cli_life_read(struct fl_span pem, int64_t now, struct cli_life *ret_life, struct fl_err *err)
{
    struct cli_life life = {0};
    struct fl_span block;
    while (next_block(&pem, &block)) {
        if (life.count == CLI_ROOTS_MAX)
            return fl_err_set(err, -EINVAL, "more than %d certificates", CLI_ROOTS_MAX);
        int result = look_at(block, now, &life, err);
        if (result < 0)
            return result;
    }
    if (life.count == 0)
        return fl_err_set(err, -EINVAL, "no certificate in PEM");
    *ret_life = life;
    return 0;
}

void cli_life_print(int64_t seconds, char ret_text[CLI_LIFE_MAX])
{
    static const struct {
        int64_t seconds;
        char unit;
    } units[] = {{365 * 86400, 'y'}, {86400, 'd'}, {3600, 'h'}, {60, 'm'}};
    int64_t size = seconds < 0 ? -seconds : seconds;
    size_t i = 0;
    while (i + 1 < FL_COUNT(units) && size < 2 * units[i].seconds)
        i++;
    (void)snprintf(ret_text, CLI_LIFE_MAX, "%lld%c%s", (long long)(size / units[i].seconds), units[i].unit,
                   seconds < 0 ? " ago" : "");
}

/* --- two bundles ------------------------------------------------------------------------------------------------ */

struct prints {
    unsigned char items[CLI_ROOTS_MAX][FL_CERT_FINGERPRINT_SIZE];
    size_t count;
};

static bool read_prints(struct fl_span pem, struct prints *prints)
{
    struct fl_span block;
    prints->count = 0;
    while (next_block(&pem, &block)) {
        FL_CLEANUP(fl_cleanup_cert) struct fl_cert *cert = NULL;
        if (prints->count == CLI_ROOTS_MAX || fl_cert_parse(block, &cert, NULL) < 0 ||
            fl_cert_fingerprint(cert, prints->items[prints->count]) < 0)
            return false;
        prints->count++;
    }
    return prints->count > 0;
}

static bool holds(const struct prints *all, const struct prints *some)
{
    for (size_t i = 0; i < some->count; i++) {
        size_t at = 0;
        while (at < all->count && memcmp(all->items[at], some->items[i], FL_CERT_FINGERPRINT_SIZE) != 0)
            at++;
        if (at == all->count)
            return false;
    }
    return true;
}

bool cli_bundles_equal(struct fl_span a, struct fl_span b)
{
    struct prints one, other;
    return read_prints(a, &one) && read_prints(b, &other) && holds(&one, &other) && holds(&other, &one);
}
