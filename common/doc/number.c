#include "common/doc/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WHOLE_MAX 9007199254740992.0 /* 2^53 */

static size_t digits(struct fl_span text, size_t at)
{
    size_t start = at;
    while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    return at - start;
}

static bool is_at(struct fl_span text, size_t at, char byte)
{
    return at < text.len && text.data[at] == byte;
}

/* Bytes of the exponent at `at`, 0 where there is none; false where it is broken. */
static bool exponent_length(struct fl_span text, size_t at, size_t *ret_length)
{
    *ret_length = 0;
    if (!is_at(text, at, 'e') && !is_at(text, at, 'E'))
        return true;
    size_t sign = is_at(text, at + 1, '+') || is_at(text, at + 1, '-');
    size_t count = digits(text, at + 1 + sign);
    *ret_length = 1 + sign + count;
    return count > 0 && count <= FL_NUMBER_EXPONENT_MAX;
}

size_t fl_number_length(struct fl_span text)
{
    size_t at = is_at(text, 0, '-');
    size_t whole = digits(text, at);
    if (whole == 0 || (whole > 1 && text.data[at] == '0'))
        return 0;
    at += whole;
    if (is_at(text, at, '.')) {
        size_t fraction = digits(text, at + 1);
        if (fraction == 0)
            return 0;
        at += 1 + fraction;
    }
    size_t exponent;
    if (!exponent_length(text, at, &exponent))
        return 0;
    at += exponent;
    return at <= FL_NUMBER_MAX ? at : 0;
}

double fl_number_value(struct fl_span text)
{
    char copy[FL_NUMBER_MAX + 1];
    size_t length = text.len <= FL_NUMBER_MAX ? text.len : FL_NUMBER_MAX;
    memcpy(copy, text.data, length);
    copy[length] = '\0';
    return strtod(copy, NULL);
}

/* ± 0.d1d2d3… × 10^magnitude, d1 and the last digit not zero. Zero has no digits. */
struct decimal {
    bool negative;
    struct fl_span whole, fraction;
    size_t first, last; /* digits in use, counted through whole and fraction; first == last: zero */
    int64_t magnitude;
};

static char digit_at(const struct decimal *decimal, size_t index)
{
    return index < decimal->whole.len ? decimal->whole.data[index] : decimal->fraction.data[index - decimal->whole.len];
}

static int64_t read_exponent(struct fl_span text)
{
    if (text.len == 0)
        return 0;
    bool negative = text.data[1] == '-';
    int64_t value = 0;
    for (size_t i = 1; i < text.len; i++) {
        if (text.data[i] >= '0' && text.data[i] <= '9')
            value = value * 10 + (text.data[i] - '0');
    }
    return negative ? -value : value;
}

static struct decimal decompose(struct fl_span text)
{
    struct decimal decimal = {.negative = text.data[0] == '-'};
    text = fl_span_from(text, decimal.negative);
    decimal.whole = fl_span_make(text.data, digits(text, 0));
    text = fl_span_from(text, decimal.whole.len);
    if (is_at(text, 0, '.')) {
        decimal.fraction = fl_span_make(text.data + 1, digits(text, 1));
        text = fl_span_from(text, 1 + decimal.fraction.len);
    }
    decimal.last = decimal.whole.len + decimal.fraction.len;
    while (decimal.first < decimal.last && digit_at(&decimal, decimal.first) == '0')
        decimal.first++;
    while (decimal.last > decimal.first && digit_at(&decimal, decimal.last - 1) == '0')
        decimal.last--;
    decimal.magnitude = read_exponent(text) + (int64_t)decimal.whole.len - (int64_t)decimal.first;
    return decimal;
}

bool fl_number_equal(struct fl_span a, struct fl_span b)
{
    struct decimal left = decompose(a), right = decompose(b);
    size_t count = left.last - left.first;
    if (count != right.last - right.first)
        return false;
    if (count == 0)
        return true;
    if (left.negative != right.negative || left.magnitude != right.magnitude)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (digit_at(&left, left.first + i) != digit_at(&right, right.first + i))
            return false;
    }
    return true;
}

void fl_number_print(double value, char ret_text[FL_NUMBER_PRINT_MAX])
{
    if (fabs(value) <= WHOLE_MAX && value == floor(value)) {
        snprintf(ret_text, FL_NUMBER_PRINT_MAX, "%.0f", value);
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(ret_text, FL_NUMBER_PRINT_MAX, "%.*g", precision, value);
        if (strtod(ret_text, NULL) == value)
            return;
    }
}
