#include "common/doc/scalar.h"

#include "common/doc/number.h"

#include <errno.h>

static bool is_one_of(struct fl_span text, const char *const *words)
{
    while (*words != NULL && !fl_span_eq_str(text, *words))
        words++;
    return *words != NULL;
}

static size_t digits(struct fl_span text)
{
    size_t count = 0;
    while (count < text.len && text.data[count] >= '0' && text.data[count] <= '9')
        count++;
    return count;
}

/* A decimal number, cut into parts that JSON's grammar can be made of. */
struct parts {
    bool negative;
    struct fl_span whole, fraction, exponent; /* digits; the last with its sign */
};

static bool cut_exponent(struct fl_span text, struct fl_span *ret_exponent)
{
    if (text.len == 0)
        return true;
    if (text.data[0] != 'e' && text.data[0] != 'E')
        return false;
    text = fl_span_from(text, 1);
    size_t sign = text.len > 0 && (text.data[0] == '+' || text.data[0] == '-');
    struct fl_span after = fl_span_from(text, sign);
    *ret_exponent = text;
    return after.len > 0 && digits(after) == after.len;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool cut_decimal(struct fl_span text, struct parts *ret_parts)
{
    struct parts parts = {0};
    if (text.len > 0 && (text.data[0] == '-' || text.data[0] == '+')) {
        parts.negative = text.data[0] == '-';
        text = fl_span_from(text, 1);
    }
    parts.whole = fl_span_make(text.data, digits(text));
    text = fl_span_from(text, parts.whole.len);
    if (text.len > 0 && text.data[0] == '.') {
        text = fl_span_from(text, 1);
        parts.fraction = fl_span_make(text.data, digits(text));
        text = fl_span_from(text, parts.fraction.len);
    }
    if (parts.whole.len + parts.fraction.len == 0 || !cut_exponent(text, &parts.exponent))
        return false;
    *ret_parts = parts;
    return true;
}

static int append_parts(struct fl_buf *out, struct parts parts)
{
    while (parts.whole.len > 1 && parts.whole.data[0] == '0')
        parts.whole = fl_span_from(parts.whole, 1);
    int result = parts.negative ? fl_buf_append_byte(out, '-') : 0;
    if (result == 0)
        result = fl_buf_append(out, parts.whole.len > 0 ? parts.whole : FL_SPAN("0"));
    if (result == 0 && parts.fraction.len > 0)
        result = fl_buf_printf(out, ".%.*s", FL_SPAN_ARG(parts.fraction));
    if (result == 0 && parts.exponent.len > 0)
        result = fl_buf_printf(out, "e%.*s", FL_SPAN_ARG(parts.exponent));
    return result;
}

static int new_number(struct parts parts, struct fl_json **ret_value)
{
    struct fl_buf out;
    fl_buf_init(&out, FL_NUMBER_MAX);
    int result = append_parts(&out, parts);
    if (result == 0 && fl_number_length(fl_buf_span(&out)) != out.len)
        result = -EINVAL;
    if (result == 0) {
        *ret_value = fl_json_new_decimal(fl_buf_span(&out));
        result = *ret_value != NULL ? 0 : -ENOMEM;
    }
    fl_buf_done(&out);
    return result == -EMSGSIZE ? -EINVAL : result;
}

static int digit_value(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : 16;
}

/* 0o… and 0x…: whether it is one, and its value where that fits. */
static bool is_based(struct fl_span text, int *ret_result, int64_t *ret_number)
{
    int base = fl_span_starts_with(text, FL_SPAN("0o")) ? 8 : fl_span_starts_with(text, FL_SPAN("0x")) ? 16 : 0;
    if (base == 0 || text.len == 2)
        return false;
    int64_t number = 0;
    *ret_result = 0;
    for (size_t i = 2; i < text.len; i++) {
        int digit = digit_value(text.data[i]);
        if (digit >= base)
            return false;
        if (number > (INT64_MAX - digit) / base)
            *ret_result = -EINVAL;
        else
            number = number * base + digit;
    }
    *ret_number = number;
    return true;
}

static int answer(struct fl_json *value, struct fl_json **ret_value)
{
    if (value == NULL)
        return -ENOMEM;
    *ret_value = value;
    return 0;
}

int fl_scalar_read(struct fl_span text, struct fl_json **ret_value)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    static const char *const strange[] = {".inf",  ".Inf",  ".INF", "+.inf", "+.Inf", "+.INF", "-.inf",
                                          "-.Inf", "-.INF", ".nan", ".NaN",  ".NAN",  NULL};
    struct parts parts;
    int64_t number = 0;
    int result = 0;
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
        return -EINVAL;
    if (is_one_of(text, nulls))
        return answer(fl_json_new_null(), ret_value);
    if (is_one_of(text, trues) || is_one_of(text, falses))
        return answer(fl_json_new_bool(is_one_of(text, trues)), ret_value);
    if (is_one_of(text, strange))
        return -EINVAL;
    if (cut_decimal(text, &parts))
        return new_number(parts, ret_value);
    if (is_based(text, &result, &number))
        return result < 0 ? result : answer(fl_json_new_int(number), ret_value);
    return answer(fl_json_new_string(text), ret_value);
}
