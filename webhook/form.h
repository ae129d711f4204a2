/* The forms that a setting's value may have: how it is read from an annotation's text, how from the configuration file,
 * and how it is printed again. One row each in form.c; settings.c names them. */
#ifndef WEBHOOK_FORM_H
#define WEBHOOK_FORM_H

#include "common/doc/table.h"

enum webhook_form_kind {
    WEBHOOK_FORM_PORTS,      /* struct fl_port_list */
    WEBHOOK_FORM_APP_PORTS,  /* the same, none of ours */
    WEBHOOK_FORM_CIDRS,      /* struct fl_cidr_list */
    WEBHOOK_FORM_UIDS,       /* struct fl_uid_list */
    WEBHOOK_FORM_INTERFACES, /* struct fl_interface_list */
    WEBHOOK_FORM_SWITCH,     /* bool */
    WEBHOOK_FORM_SECONDS,    /* uint32_t, 0…3600 */
    WEBHOOK_FORM_PATIENCE,   /* uint32_t, 1…3600 */
    WEBHOOK_FORM_LOG_LEVEL,  /* struct fl_span, as the following ones */
    WEBHOOK_FORM_IMAGE,
    WEBHOOK_FORM_PULL_POLICY,
    WEBHOOK_FORM_QUANTITY,
    WEBHOOK_FORM_PRIVILEGED, /* enum webhook_privileged */
    WEBHOOK_FORM_ENV,        /* const struct fl_json *, as the following ones */
    WEBHOOK_FORM_VOLUMES,
    WEBHOOK_FORM_MOUNTS,
    WEBHOOK_FORM_COUNT
};

#define WEBHOOK_SECONDS_MAX 3600

enum webhook_privileged { WEBHOOK_PRIVILEGED_WARN, WEBHOOK_PRIVILEGED_DENY, WEBHOOK_PRIVILEGED_ALLOW };

const char *webhook_privileged_word(enum webhook_privileged privileged); /* "warn", "deny", "allow" */

struct webhook_form {
    const char *wanted; /* for people: "`enabled` or `disabled`" */
    const char *schema; /* JSON: the keywords that its member has in the configuration file's schema */
    /* From an annotation. NULL: the text is JSON, and what `take` makes of it. 0, -EINVAL with what would be right. */
    int (*read)(struct fl_span text, void *field, struct fl_err *err);
    /* From the configuration file, or an annotation's JSON. NULL: a string, and what `read` makes of it. */
    int (*take)(struct fl_reader *reader, const struct fl_json *value, void *field);
    int (*print)(const void *field, struct fl_buf *out); /* as the configuration file would hold it, in JSON */
};

const struct webhook_form *webhook_form(enum webhook_form_kind kind);

#endif
