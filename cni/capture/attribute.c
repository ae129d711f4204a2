#include "cni/capture/attribute.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>

void cni_message_put(struct cni_message *message, uint16_t type, const void *data, size_t size)
{
    if (message->overflow || !mnl_attr_put_check(message->header, message->size, type, size, data))
        message->overflow = true;
}

void cni_message_put_u32(struct cni_message *message, uint16_t type, uint32_t number)
{
    uint32_t network = htonl(number);
    cni_message_put(message, type, &network, sizeof(network));
}

void cni_message_put_text(struct cni_message *message, uint16_t type, const char *text)
{
    cni_message_put(message, type, text, strlen(text) + 1);
}

struct nlattr *cni_message_enter(struct cni_message *message, uint16_t type)
{
    struct nlattr *nest = message->overflow ? NULL : mnl_attr_nest_start_check(message->header, message->size, type);
    if (nest == NULL)
        message->overflow = true;
    return nest;
}

void cni_message_leave(struct cni_message *message, struct nlattr *nest)
{
    if (!message->overflow)
        mnl_attr_nest_end(message->header, nest);
}

const struct nlmsghdr *cni_messages_next(struct fl_span *rest)
{
    const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)rest->data;
    if (rest->len < sizeof(*message) || message->nlmsg_len < sizeof(*message) || message->nlmsg_len > rest->len)
        return NULL;
    size_t step = cni_align(message->nlmsg_len);
    *rest = fl_span_from(*rest, step < rest->len ? step : rest->len);
    return message;
}

struct cni_attributes cni_attributes_in(const struct nlattr *nest)
{
    return (struct cni_attributes){cni_attribute_bytes(nest)};
}

const struct nlattr *cni_attributes_next(struct cni_attributes *list)
{
    const struct nlattr *attribute = (const struct nlattr *)(const void *)list->rest.data;
    if (list->rest.len < sizeof(struct nlattr) || !mnl_attr_ok(attribute, (int)list->rest.len))
        return NULL;
    size_t step = cni_align(attribute->nla_len);
    list->rest = fl_span_from(list->rest, step < list->rest.len ? step : list->rest.len);
    return attribute;
}

static void find(struct cni_attributes list, const struct nlattr **found, size_t count)
{
    memset(found, 0, count * sizeof(found[0]));
    for (const struct nlattr *attribute = cni_attributes_next(&list); attribute != NULL;
         attribute = cni_attributes_next(&list)) {
        uint16_t type = mnl_attr_get_type(attribute);
        if (type < count && found[type] == NULL)
            found[type] = attribute;
    }
}

void cni_attributes_of_message(const struct nlmsghdr *message, size_t head, const struct nlattr **found, size_t count)
{
    head = sizeof(struct nlmsghdr) + cni_align(head);
    struct fl_span bytes = fl_span_make(message, message->nlmsg_len);
    find((struct cni_attributes){fl_span_from(bytes, bytes.len < head ? bytes.len : head)}, found, count);
}

void cni_attributes_of_nest(const struct nlattr *nest, const struct nlattr **found, size_t count)
{
    find(cni_attributes_in(nest), found, count);
}

bool cni_attribute_u32(const struct nlattr *attribute, uint32_t *ret_number)
{
    struct fl_span bytes = cni_attribute_bytes(attribute);
    uint32_t network;
    if (bytes.len != sizeof(network))
        return false;
    memcpy(&network, bytes.data, sizeof(network));
    *ret_number = ntohl(network);
    return true;
}

struct fl_span cni_attribute_bytes(const struct nlattr *attribute)
{
    if (attribute == NULL)
        return (struct fl_span){NULL, 0};
    return fl_span_make(mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute));
}

struct fl_span cni_attribute_text(const struct nlattr *attribute)
{
    struct fl_span bytes = cni_attribute_bytes(attribute);
    bytes.len = bytes.len > 0 ? strnlen(bytes.data, bytes.len) : 0;
    return bytes;
}

bool cni_attribute_is(const struct nlattr *attribute, const char *text)
{
    return attribute != NULL && fl_span_eq_str(cni_attribute_text(attribute), text);
}
