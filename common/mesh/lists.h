/* The two kinds of list in a capture spec, item by item: what capture.c and the annotations' forms share. */
#ifndef FL_MESH_LISTS_H
#define FL_MESH_LISTS_H

#include "common/mesh/capture.h"

/* Reads one item, without blanks around it ("80", "8000-8080", "10.0.0.0/8", "*"), and merges it into the list.
 * 0 or -EINVAL. The list starts as {0}. */
int fl_port_list_merge(struct fl_port_list *list, struct fl_span item, struct fl_err *err) FL_MUST_CHECK;
int fl_cidr_list_merge(struct fl_cidr_list *list, struct fl_span item, struct fl_err *err) FL_MUST_CHECK;

/* Behind the last item: what names everything becomes `all`. */
void fl_port_list_settle(struct fl_port_list *list);
void fl_cidr_list_settle(struct fl_cidr_list *list);

#define FL_RANGE_PRINT_MAX 16 /* bytes of the texts below, their NUL included */
#define FL_CIDR_PRINT_MAX  64

void fl_port_range_print(const struct fl_port_range *range, char ret_text[FL_RANGE_PRINT_MAX]);
void fl_cidr_print(const struct fl_cidr *cidr, char ret_text[FL_CIDR_PRINT_MAX]);

#endif
