#include "common/kube/object.h"

#include <errno.h>

static bool is_lower_or_digit(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
}

static bool is_label(struct fl_span text, size_t max)
{
    if (text.len == 0 || text.len > max || !is_lower_or_digit(text.data[0]) ||
        !is_lower_or_digit(text.data[text.len - 1]))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!is_lower_or_digit(text.data[i]) && text.data[i] != '-')
            return false;
    return true;
}

bool fl_is_dns_label(struct fl_span text)
{
    return is_label(text, FL_KUBE_NAMESPACE_MAX);
}

bool fl_is_dns_subdomain(struct fl_span text)
{
    struct fl_span part;
    if (text.len == 0 || text.len > FL_KUBE_NAME_MAX)
        return false;
    while (fl_span_split(&text, '.', &part))
        if (!is_label(part, FL_KUBE_NAME_MAX))
            return false;
    return true;
}

int fl_kube_plural(const char *kind, struct fl_buf *out)
{
    struct fl_span name = fl_span_str(kind), vowels = FL_SPAN("aeiou");
    char last = name.len > 0 ? name.data[name.len - 1] : '\0', before = name.len > 1 ? name.data[name.len - 2] : '\0';
    bool policies = last == 'y' && before != '\0' && fl_span_find(vowels, before) == vowels.len;
    int result = 0;
    for (size_t i = 0; i < name.len - policies && result == 0; i++)
        result =
            fl_buf_append_byte(out, (char)(name.data[i] | (name.data[i] >= 'A' && name.data[i] <= 'Z' ? 0x20 : 0)));
    if (result < 0)
        return result;
    return fl_buf_append_str(out, policies ? "ies" : last != 's' ? "s" : before == 's' ? "es" : "");
}

/* `digits` of them at *at, in [min, max]; moves *at. */
static bool number(struct fl_span text, size_t *at, size_t digits, int min, int max, int *ret_value)
{
    uint64_t value = 0;
    if (text.len - *at < digits || !fl_span_to_u64(fl_span_make(text.data + *at, digits), (uint64_t)max, &value) ||
        value < (uint64_t)min)
        return false;
    *at += digits;
    *ret_value = (int)value;
    return true;
}

static bool byte(struct fl_span text, size_t *at, char wanted)
{
    if (*at >= text.len || text.data[*at] != wanted)
        return false;
    ++*at;
    return true;
}

/* Days since 1970-01-01 in the Gregorian calendar; years from March, so that a leap day is the last of its year. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t from_march = month > 2 ? month - 3 : month + 9;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * from_march + 2) / 5 + day - 1 - 719468;
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* "Z" or "+01:00", to the end of the text. */
static bool offset_of(struct fl_span text, size_t at, int64_t *ret_seconds)
{
    int hours = 0, minutes = 0;
    *ret_seconds = 0;
    if (byte(text, &at, 'Z') || byte(text, &at, 'z'))
        return at == text.len;
    bool minus = at < text.len && text.data[at] == '-';
    if (!minus && (at >= text.len || text.data[at] != '+'))
        return false;
    at++;
    if (!number(text, &at, 2, 0, 23, &hours) || !byte(text, &at, ':') || !number(text, &at, 2, 0, 59, &minutes))
        return false;
    *ret_seconds = (minus ? -1 : 1) * (int64_t)(hours * 3600 + minutes * 60);
    return at == text.len;
}

int fl_time_parse(struct fl_span text, int64_t *ret_seconds)
{
    size_t at = 0;
    int year, month, day, hour, minute, second;
    int64_t offset = 0;
    if (!number(text, &at, 4, 0, 9999, &year) || !byte(text, &at, '-') || !number(text, &at, 2, 1, 12, &month) ||
        !byte(text, &at, '-') || !number(text, &at, 2, 1, days_in(year, month), &day))
        return -EINVAL;
    if (!byte(text, &at, 'T') && !byte(text, &at, 't'))
        return -EINVAL;
    if (!number(text, &at, 2, 0, 23, &hour) || !byte(text, &at, ':') || !number(text, &at, 2, 0, 59, &minute) ||
        !byte(text, &at, ':') || !number(text, &at, 2, 0, 60, &second))
        return -EINVAL;
    if (byte(text, &at, '.')) {
        size_t start = at;
        while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9')
            at++;
        if (at == start)
            return -EINVAL;
    }
    if (!offset_of(text, at, &offset))
        return -EINVAL;
    *ret_seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    return 0;
}
