#include "webhook/value.h"

#include "common/base/log.h"
#include "common/base/utf8.h"
#include "webhook/limit.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>

static bool is_lower_alnum(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
}

static bool is_alnum(char byte)
{
    return is_lower_alnum(byte) || (byte >= 'A' && byte <= 'Z');
}

static bool all_digits(struct fl_span text)
{
    uint64_t number;
    return text.len <= 5 && fl_span_to_u64(text, 65535, &number) && number > 0;
}

/* One part of the path: letters and digits, between them one '.', one or two '_', or any number of '-'. */
static bool is_path_part(struct fl_span part)
{
    if (part.len == 0 || !is_lower_alnum(part.data[0]) || !is_lower_alnum(part.data[part.len - 1]))
        return false;
    for (size_t i = 0; i < part.len; i++) {
        char byte = part.data[i];
        if (is_lower_alnum(byte) || byte == '-')
            continue;
        size_t run = 1;
        while (part.data[i + run] == byte)
            run++;
        bool fits = (byte == '.' && run == 1) || (byte == '_' && run <= 2);
        if (!fits || !is_lower_alnum(part.data[i + run]))
            return false;
        i += run;
    }
    return true;
}

static bool is_host(struct fl_span host)
{
    size_t colon = fl_span_find(host, ':');
    if (colon < host.len && !all_digits(fl_span_from(host, colon + 1)))
        return false;
    host.len = colon;
    struct fl_span rest = host, part;
    while (fl_span_split(&rest, '.', &part)) {
        if (part.len == 0 || !is_alnum(part.data[0]) || !is_alnum(part.data[part.len - 1]))
            return false;
        for (size_t i = 0; i < part.len; i++) {
            if (!is_alnum(part.data[i]) && part.data[i] != '-')
                return false;
        }
    }
    return true;
}

static bool is_tag(struct fl_span tag)
{
    if (tag.len == 0 || tag.len > 128 || !(is_alnum(tag.data[0]) || tag.data[0] == '_'))
        return false;
    for (size_t i = 0; i < tag.len; i++) {
        if (!is_alnum(tag.data[i]) && strchr("._-", tag.data[i]) == NULL)
            return false;
    }
    return true;
}

static bool is_digest(struct fl_span digest)
{
    size_t colon = fl_span_find(digest, ':');
    if (colon == 0 || colon == digest.len || digest.len - colon - 1 < 32)
        return false;
    for (size_t i = 0; i < colon; i++) {
        if (!is_alnum(digest.data[i]) && strchr("+._-", digest.data[i]) == NULL)
            return false;
    }
    for (size_t i = colon + 1; i < digest.len; i++) {
        if (!isxdigit((unsigned char)digest.data[i]))
            return false;
    }
    return true;
}

static bool is_image(struct fl_span text)
{
    size_t at = fl_span_find(text, '@');
    if (at < text.len && !is_digest(fl_span_from(text, at + 1)))
        return false;
    text.len = at;
    size_t slash = fl_span_find(text, '/');
    struct fl_span first = {text.data, slash};
    bool has_host = slash < text.len && (fl_span_find(first, '.') < first.len || fl_span_find(first, ':') < first.len ||
                                         fl_span_eq_str(first, "localhost"));
    if (has_host && !is_host(first))
        return false;
    struct fl_span path = has_host ? fl_span_from(text, slash + 1) : text;
    size_t colon = fl_span_find(path, ':');
    if (colon < path.len && !is_tag(fl_span_from(path, colon + 1)))
        return false;
    path.len = colon;
    struct fl_span part;
    if (path.len == 0)
        return false;
    while (fl_span_split(&path, '/', &part)) {
        if (!is_path_part(part))
            return false;
    }
    return true;
}

int webhook_image_check(struct fl_span text, struct fl_err *err)
{
    char copy[WEBHOOK_IMAGE_MAX + 1]; /* NUL-terminated, so that a look one byte ahead is fine */
    if (text.len > 0 && text.len <= WEBHOOK_IMAGE_MAX && memchr(text.data, '\0', text.len) == NULL) {
        memcpy(copy, text.data, text.len);
        copy[text.len] = '\0';
        if (is_image(fl_span_make(copy, text.len)))
            return 0;
    }
    return fl_err_set(err, -EINVAL, "\"%.*s\" is not an image reference; expected [host[:port]/]name[:tag][@digest]",
                      WEBHOOK_SHOW(text));
}

/* What the suffix multiplies by, in units of 10^-9; 0 where it is unknown. */
static __int128 suffix_nano(struct fl_span suffix)
{
    static const struct {
        const char *name;
        int decimal; /* power of ten, over 10^-9 */
        int binary;  /* power of two */
    } suffixes[] = {{"n", 0, 0},   {"u", 3, 0},   {"m", 6, 0},   {"", 9, 0},   {"k", 12, 0},  {"M", 15, 0},
                    {"G", 18, 0},  {"T", 21, 0},  {"P", 24, 0},  {"E", 27, 0}, {"Ki", 9, 10}, {"Mi", 9, 20},
                    {"Gi", 9, 30}, {"Ti", 9, 40}, {"Pi", 9, 50}, {"Ei", 9, 60}};
    for (size_t i = 0; i < FL_COUNT(suffixes); i++) {
        if (!fl_span_eq_str(suffix, suffixes[i].name))
            continue;
        __int128 unit = (__int128)1 << suffixes[i].binary;
        for (int power = 0; power < suffixes[i].decimal; power++)
            unit *= 10;
        return unit;
    }
    return 0;
}

/* "e3", "E-3": the exponent form; false where it is none or out of the range of the suffixes. */
static bool exponent_nano(struct fl_span suffix, __int128 *ret_unit)
{
    if (suffix.len < 2 || (suffix.data[0] != 'e' && suffix.data[0] != 'E'))
        return false;
    bool negative = suffix.data[1] == '-';
    struct fl_span digits = fl_span_from(suffix, negative || suffix.data[1] == '+' ? 2 : 1);
    uint64_t power;
    if (!fl_span_to_u64(digits, negative ? 9 : 18, &power))
        return false;
    *ret_unit = 1;
    for (uint64_t i = 0; i < (negative ? 9 - power : 9 + power); i++)
        *ret_unit *= 10;
    return true;
}

#define NANO_MAX ((__int128)1000000000 * 1000000000 * 1000000000) /* 10^18 in units of 10^-9 */

/* digits[.digits] times unit, rounded up; false where it is no number or too large. */
static bool scale(struct fl_span number, __int128 unit, __int128 *ret_nano)
{
    __int128 whole = 0, part = 0, part_unit = unit;
    size_t digits = 0, i = 0;
    bool inexact = false;
    for (; i < number.len && number.data[i] != '.'; i++, digits++) {
        whole = whole * 10 + (number.data[i] - '0');
        if (whole > NANO_MAX / unit)
            return false;
    }
    for (i++; i < number.len; i++, digits++) {
        if (number.data[i] == '.')
            return false;
        inexact |= part_unit % 10 != 0 && number.data[i] != '0';
        part_unit /= 10;
        part += part_unit * (number.data[i] - '0');
    }
    if (digits == 0)
        return false;
    *ret_nano = whole * unit + part + (inexact ? 1 : 0);
    return *ret_nano <= NANO_MAX;
}

int webhook_quantity_parse(struct fl_span text, __int128 *ret_nano, struct fl_err *err)
{
    size_t number = 0;
    while (number < text.len && ((text.data[number] >= '0' && text.data[number] <= '9') || text.data[number] == '.'))
        number++;
    struct fl_span suffix = fl_span_from(text, number);
    __int128 unit = suffix_nano(suffix);
    if (text.len > 0 && text.len <= WEBHOOK_VALUE_MAX && (unit > 0 || exponent_nano(suffix, &unit)) &&
        scale(fl_span_make(text.data, number), unit, ret_nano))
        return 0;
    return fl_err_set(err, -EINVAL, "\"%.*s\" is not a quantity; expected a number with a suffix, as 100m, 0.5 or 64Mi",
                      WEBHOOK_SHOW(text));
}

int webhook_log_level_check(struct fl_span text, struct fl_err *err)
{
    enum fl_log_level level;
    if (fl_log_level_parse(text, &level))
        return 0;
    return fl_err_set(err, -EINVAL, "\"%.*s\" is not a log level; expected trace, debug, info, warning, error or off",
                      WEBHOOK_SHOW(text));
}

int webhook_pull_policy_check(struct fl_span text, struct fl_err *err)
{
    if (text.len == 0 || fl_span_eq_str(text, "Always") || fl_span_eq_str(text, "IfNotPresent") ||
        fl_span_eq_str(text, "Never"))
        return 0;
    return fl_err_set(err, -EINVAL, "\"%.*s\" is not a pull policy; expected Always, IfNotPresent or Never",
                      WEBHOOK_SHOW(text));
}

bool webhook_is_label(struct fl_span text)
{
    if (text.len == 0 || text.len > 63 || text.data[0] == '-' || text.data[text.len - 1] == '-')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_lower_alnum(text.data[i]) && text.data[i] != '-')
            return false;
    }
    return true;
}

bool webhook_is_dns_name(struct fl_span text)
{
    struct fl_span rest = text, part;
    if (text.len == 0 || text.len > WEBHOOK_NAME_MAX)
        return false;
    while (fl_span_split(&rest, '.', &part)) {
        if (!webhook_is_label(part))
            return false;
    }
    return true;
}

void webhook_keep(char *field, size_t size, struct fl_span text)
{
    size_t len = fl_utf8_cut(text, size - 1).len; /* half a character would be another text for whoever reads it */
    if (len > 0)
        memcpy(field, text.data, len);
    field[len] = '\0';
}
