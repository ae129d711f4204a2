/* Warnings of one answer: what `kubectl` shows to the person who made the pod. A bounded list of bounded lines. */
#ifndef WEBHOOK_WARNING_H
#define WEBHOOK_WARNING_H

#include "webhook/limit.h"
#include "webhook/reason.h"

#include <stddef.h>

struct webhook_warnings {
    size_t count;
    char text[WEBHOOK_WARNINGS_MAX][WEBHOOK_WARNING_MAX + 1]; /* NUL-terminated, no control characters */
};

/* Adds a line, cut where it is too long; past WEBHOOK_WARNINGS_MAX it is left out. */
void webhook_warn(struct webhook_warnings *warnings, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with the reason's word behind it: "… [host_network]". A long line is cut before that. */
void webhook_warn_reason(struct webhook_warnings *warnings, enum webhook_reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
