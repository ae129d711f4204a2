#include "tests/support/fail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t countdown; /* 0: none fails */
static bool happened, lasts;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

void fail_at(size_t nth)
{
    countdown = nth;
    happened = lasts = false;
}

void fail_from(size_t nth)
{
    fail_at(nth);
    lasts = true;
}

void fail_stop(void)
{
    countdown = 0;
}

bool fail_happened(void)
{
    return happened;
}

bool fail_again(size_t round)
{
    fail_stop();
    if (round == 1 && !happened) {
        fprintf(stderr, "FAIL_EACH_ALLOCATION: the code under test allocated nothing\n");
        abort();
    }
    return happened;
}

static bool fails(void)
{
    if (countdown == 0 || --countdown > 0)
        return false;
    countdown = lasts;
    happened = true;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *pointer, size_t size)
{
    return fails() ? NULL : __real_realloc(pointer, size);
}

char *__wrap_strndup(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    char *copy = __wrap_malloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}
