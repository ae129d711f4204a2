#include "control/xds/node.h"

#include "common/mesh/dnsname.h"
#include "common/mesh/resource.h"

#include "control/xds/messages.h"

#include <arpa/inet.h>
#include <errno.h>

const char *control_role_word(enum control_role role)
{
    static const char *const words[] = {"client", "sidecar", "gateway"};
    return words[role];
}

/* The string value of a member of the metadata; empty where it is absent or something else. */
static struct fl_span metadata(const pb_node *message, const char *name)
{
    for (size_t i = 0; message->metadata != NULL && i < message->metadata->n_fields; i++) {
        const Google__Protobuf__Struct__FieldsEntry *entry = message->metadata->fields[i];
        if (strcmp(entry->key, name) == 0 && entry->value != NULL &&
            entry->value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
            return fl_span_str(entry->value->string_value);
    }
    return (struct fl_span){NULL, 0};
}

static void keep(char *to, size_t size, struct fl_span text)
{
    size_t len = text.len < size - 1 ? text.len : size - 1;
    if (len > 0)
        memcpy(to, text.data, len);
    to[len] = '\0';
}

static bool read_ip(struct fl_span text, struct control_node *node)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    char given[INET6_ADDRSTRLEN];
    if (text.len >= sizeof(given))
        return false;
    keep(given, sizeof(given), text);
    for (unsigned i = 0; i < 2; i++) {
        int family = i == 0 ? AF_INET : AF_INET6;
        if (inet_pton(family, given, bytes) == 1)
            return inet_ntop(family, bytes, node->ip, sizeof(node->ip)) != NULL;
    }
    return false;
}

/* "<name>.<namespace>": a namespace has no dot. */
static bool read_name(struct fl_span text, struct control_node *node)
{
    size_t dot = text.len;
    while (dot > 0 && text.data[dot - 1] != '.')
        dot--;
    if (dot == 0)
        return false;
    struct fl_span name = fl_span_make(text.data, dot - 1), name_space = fl_span_from(text, dot);
    keep(node->name, sizeof(node->name), name);
    keep(node->name_space, sizeof(node->name_space), name_space);
    return fl_dns_is_subdomain(name) && fl_dns_is_label(name_space);
}

/* "<namespace>/<name>" */
static bool read_gateway(struct fl_span text, struct control_node *node)
{
    struct fl_span name_space;
    if (!fl_span_split(&text, '/', &name_space) || !fl_dns_is_label(name_space) || !fl_dns_is_subdomain(text))
        return false;
    keep(node->name_space, sizeof(node->name_space), name_space);
    keep(node->name, sizeof(node->name), text);
    return true;
}

static int read_id(struct control_node *node, struct fl_err *err)
{
    struct fl_span rest = fl_span_str(node->id), word, ip, name;
    fl_span_split(&rest, '~', &word);
    if (fl_span_eq_str(word, "sidecar"))
        node->role = CONTROL_ROLE_SIDECAR;
    else if (fl_span_eq_str(word, "router"))
        node->role = CONTROL_ROLE_GATEWAY;
    else
        return 0;
    if (!fl_span_split(&rest, '~', &ip) || !fl_span_split(&rest, '~', &name) || rest.data == NULL ||
        !read_ip(ip, node) || !read_name(name, node))
        return fl_err_set(err, -EINVAL, "node.id: expected %.*s~<ip>~<name>.<namespace>~<domain>, got \"%s\"",
                          FL_SPAN_ARG(word), node->id);
    return 0;
}

int control_node_read(const pb_node *message, struct control_node *ret_node, struct fl_err *err)
{
    *ret_node = (struct control_node){0};
    if (message == NULL)
        return 0;
    struct fl_span id = fl_span_str(message->id);
    if (id.len > CONTROL_NODE_ID_MAX)
        return fl_err_set(err, -EINVAL, "node.id: longer than %d bytes", CONTROL_NODE_ID_MAX);
    keep(ret_node->id, sizeof(ret_node->id), id);
    keep(ret_node->user_agent, sizeof(ret_node->user_agent), fl_span_str(message->user_agent_name));
    ret_node->on_demand = fl_span_eq_str(metadata(message, FL_NODE_DISCOVERY), FL_NODE_DISCOVERY_ON_DEMAND);
    int result = read_id(ret_node, err);
    struct fl_span gateway = metadata(message, FL_NODE_GATEWAY);
    if (result == 0 && ret_node->role == CONTROL_ROLE_GATEWAY && !read_gateway(gateway, ret_node))
        result = fl_err_set(err, -EINVAL, "node.metadata.%s: expected <namespace>/<name>", FL_NODE_GATEWAY);
    return result;
}
