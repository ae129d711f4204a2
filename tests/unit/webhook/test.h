/* What the webhook's unit tests share: cmocka, and documents from literals. */
#ifndef TESTS_UNIT_WEBHOOK_TEST_H
#define TESTS_UNIT_WEBHOOK_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/doc/json.h"
#include "common/doc/yaml.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <stdio.h>

/* JSON with ' for ", so that literals stay readable. Asserts that it parses. */
static inline struct fl_json *json(const char *text)
{
    char copy[16384];
    struct fl_json *root = NULL;
    struct fl_err err = {0};
    size_t len = strlen(text);
    assert_true(len < sizeof(copy));
    for (size_t i = 0; i <= len; i++)
        copy[i] = text[i] == '\'' ? '"' : text[i];
    const struct fl_json_limits limits = {.bytes_max = sizeof(copy)};
    if (fl_json_parse(fl_span_make(copy, len), &limits, &root, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return root;
}

static inline void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

static inline void assert_span(struct fl_span span, const char *text)
{
    if (!fl_span_eq_str(span, text))
        fail_msg("\"%.*s\" is not \"%s\"", FL_SPAN_ARG(span), text);
}

#endif
