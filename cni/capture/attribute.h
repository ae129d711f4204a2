/* Netlink messages and attributes, as nf_tables wants them: written with a bound, read without trust. Writing is a thin
 * layer over libmnl (numbers in network order, nests carry NLA_F_NESTED); walking messages is not left to
 * mnl_nlmsg_ok(), which takes lengths of 2 GiB and more for negative ones and lets them pass.
 */
#ifndef CNI_CAPTURE_ATTRIBUTE_H
#define CNI_CAPTURE_ATTRIBUTE_H

#include "common/base/span.h"

struct nlmsghdr;
struct nlattr;

/* Netlink pads everything to 4 bytes. */
static inline size_t cni_align(size_t size)
{
    return (size + 3) & ~(size_t)3;
}

/* --- writing --- */

struct cni_message {
    struct nlmsghdr *header; /* the message being written */
    size_t size;             /* bytes that it may grow to */
    bool overflow;           /* something did not fit; what follows is dropped */
};

void cni_message_put(struct cni_message *message, uint16_t type, const void *data, size_t size);
void cni_message_put_u32(struct cni_message *message, uint16_t type, uint32_t number);
void cni_message_put_text(struct cni_message *message, uint16_t type, const char *text);
/* NULL after an overflow; leave takes it all the same. */
struct nlattr *cni_message_enter(struct cni_message *message, uint16_t type);
void cni_message_leave(struct cni_message *message, struct nlattr *nest);

/* --- reading --- */

/* One message after the other: for (m = cni_messages_next(&rest); m != NULL; …). `rest` is aligned; what is cut short
 * ends the walk. */
const struct nlmsghdr *cni_messages_next(struct fl_span *rest);

/* The attributes of a message behind its protocol header of `head` bytes, or inside a nest, by type: found[type] is
 * NULL where there is none; of two the first counts. `count` is the length of `found`. */
void cni_attributes_of_message(const struct nlmsghdr *message, size_t head, const struct nlattr **found, size_t count);
void cni_attributes_of_nest(const struct nlattr *nest, const struct nlattr **found, size_t count);

/* One attribute after the other, for lists: for (a = cni_attributes_next(&list); a != NULL; …). */
struct cni_attributes {
    struct fl_span rest;
};
struct cni_attributes cni_attributes_in(const struct nlattr *nest); /* of NULL: none */
const struct nlattr *cni_attributes_next(struct cni_attributes *list);

/* Values; NULL attributes and wrong sizes are answered by false, or an empty span. */
bool cni_attribute_u32(const struct nlattr *attribute, uint32_t *ret_number);
struct fl_span cni_attribute_bytes(const struct nlattr *attribute);
struct fl_span cni_attribute_text(const struct nlattr *attribute); /* without the NUL that ends it */
bool cni_attribute_is(const struct nlattr *attribute, const char *text);

#endif
