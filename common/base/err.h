/* struct fl_err: an error that a person or an API reads. A code and a bounded text, no allocation, no clean-up.
 *
 * House rule: a negative errno is fatal for the operation and is forwarded unchanged; positive values are outcomes of
 * a module's own enum. Where somebody reads the reason, the function takes a `struct fl_err *` as its last parameter
 * (NULL is allowed: then only the return value tells), and callers add context in front on the way up.
 */
#ifndef FL_BASE_ERR_H
#define FL_BASE_ERR_H

#define FL_ERR_TEXT_MAX 512

struct fl_err {
    int code;                   /* negative errno of the failure; 0 as long as nothing failed */
    char text[FL_ERR_TEXT_MAX]; /* one line, NUL-terminated, cut where it is longer */
};

/* Sets code and text (printf's format) and returns `code`, so that one can `return fl_err_set(err, -EINVAL, …)`.
 * Control characters in the result are replaced by '?', so that a hostile value cannot forge a second log line. */
int fl_err_set(struct fl_err *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* As fl_err_set with the text of the errno behind it: "open /x: No such file or directory". `code` is negative. */
int fl_err_errno(struct fl_err *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts context before the text that is there: "<context>: <text>". Returns err->code (0 where err is NULL). */
int fl_err_prefix(struct fl_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
