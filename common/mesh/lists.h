/* The kinds of list in a capture spec, item by item: what capture.c and the annotations' forms share. */
#ifndef FL_MESH_LISTS_H
#define FL_MESH_LISTS_H

#include "common/mesh/capture.h"

/* Reads one item, without blanks around it ("80", "8000-8080", "10.0.0.0/8", "*", "eth1"), and merges it into the list.
 * 0 or -EINVAL. The list starts as {0}. */
int fl_port_list_merge(struct fl_port_list *list, struct fl_span item, struct fl_err *err) FL_MUST_CHECK;
int fl_cidr_list_merge(struct fl_cidr_list *list, struct fl_span item, struct fl_err *err) FL_MUST_CHECK;
int fl_uid_list_merge(struct fl_uid_list *list, struct fl_span item, struct fl_err *err) FL_MUST_CHECK;
int fl_interface_list_merge(struct fl_interface_list *list, struct fl_span item, struct fl_err *err) FL_MUST_CHECK;

/* The annotation's form: every item between commas, trimmed, handed to `merge`; an empty text has none. 0 or what
 * `merge` says. */
int fl_list_each(struct fl_span text, void *list, int (*merge)(void *list, struct fl_span item, struct fl_err *err),
                 struct fl_err *err) FL_MUST_CHECK;

/* Behind the last item: what names everything becomes `all`. */
void fl_port_list_settle(struct fl_port_list *list);
void fl_cidr_list_settle(struct fl_cidr_list *list);

/* Ranges of a list: ascending, neither overlapping nor touching, and so they stay. false: there is no room for one
 * more. */
bool fl_ranges_insert(struct fl_range ranges[FL_CAPTURE_RANGES], size_t *count, struct fl_range range) FL_MUST_CHECK;
bool fl_ranges_contain(const struct fl_range *ranges, size_t count, uint32_t number);

/* What a message shows of an item that is wrong: its beginning. */
struct fl_span fl_list_shown(struct fl_span item);

#define FL_RANGE_PRINT_MAX 24 /* bytes of the texts below, their NUL included */
#define FL_CIDR_PRINT_MAX  64

void fl_range_print(const struct fl_range *range, char ret_text[FL_RANGE_PRINT_MAX]);
/* Appends the list as annotations have it: "80,8000-8080"; "*" where it is all. 0, -ENOMEM, -EMSGSIZE. */
int fl_ranges_print(bool all, const struct fl_range *ranges, size_t count, struct fl_buf *out) FL_MUST_CHECK;
void fl_cidr_print(const struct fl_cidr *cidr, char ret_text[FL_CIDR_PRINT_MAX]);

#endif
