/* JSON as places in a text: where each value begins and ends, and nothing is copied. For an editor that must leave all
 * else byte for byte; a tree (common/doc/json.h) would print the text anew.
 *
 * Reads what Go's encoding/json reads, for the runtimes that read these files are in Go: names may stand twice, invalid
 * UTF-8 and half surrogate pairs are taken; a byte order mark, raw control characters, bytes after the value are not.
 *
 * Values stand in one array in the order of the text; `next` leads past a value and all that is in it. In an object a
 * name (a string) is followed by its value.
 */
#ifndef CNI_INSTALL_JSONWALK_H
#define CNI_INSTALL_JSONWALK_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define CNI_JSON_DEPTH_MAX  256
#define CNI_JSON_VALUES_MAX 65536
#define CNI_JSON_NONE       UINT32_MAX

struct cni_json_value {
    uint32_t start, end; /* bytes of the text; strings with their quotes */
    uint32_t next;       /* index of what comes after it, on its own level or above */
    char kind;           /* '{' '[' '"' '0' (a number) 't' 'f' 'n' */
};

struct cni_json {
    struct fl_span text;           /* borrowed */
    struct cni_json_value *values; /* owned; [0] is the root */
    uint32_t count, room;
};

/* 0; -EINVAL (no JSON; err tells line and column), -EMSGSIZE (a limit; texts of 4 GiB and more), -ENOMEM. */
int cni_json_read(struct fl_span text, struct cni_json *ret_json, struct fl_err *err) FL_MUST_CHECK;
void cni_json_done(struct cni_json *json); /* also of a zeroed one */

/* All indices are of values; CNI_JSON_NONE is allowed and answered as what is not there. */
char cni_json_kind(const struct cni_json *json, uint32_t index);           /* NUL where it is not there */
struct fl_span cni_json_text(const struct cni_json *json, uint32_t index); /* as written */
/* Elements of an array; names of an object (whose value is name + 1). NONE at the end. */
uint32_t cni_json_first(const struct cni_json *json, uint32_t container);
uint32_t cni_json_after(const struct cni_json *json, uint32_t container, uint32_t child);
uint32_t cni_json_count(const struct cni_json *json, uint32_t container); /* elements or members */
/* The value that Go's map has under this name (ASCII): the last one. */
uint32_t cni_json_get(const struct cni_json *json, uint32_t object, const char *name);
/* The value that Go's struct gets for a field of this name (ASCII, lower case): names in whatever case count, the name
 * that comes last in byte order, for the object is sorted on its way there; null does not count. */
uint32_t cni_json_get_field(const struct cni_json *json, uint32_t object, const char *name);

/* Whether a string is this text (ASCII), escapes resolved. */
bool cni_json_is(const struct cni_json *json, uint32_t string, const char *text);
/* The string with its escapes resolved, NUL-terminated; false where it does not fit, or has anything but printable
 * ASCII. */
bool cni_json_string(const struct cni_json *json, uint32_t string, char *text, size_t size);

/* "line 3, column 5" for an error. */
struct cni_json_place {
    unsigned line, column; /* from 1; columns count bytes */
};
struct cni_json_place cni_json_place(struct fl_span text, size_t offset);

#endif
