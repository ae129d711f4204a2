/* CIDRs and lists of them: read, merged, asked. */
#include "common/mesh/lists.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

static size_t address_size(int family)
{
    return family == AF_INET ? 4 : 16;
}

static int refuse(struct fl_span item, struct fl_err *err)
{
    return fl_err_set(err, -EINVAL, "expected CIDRs like 10.0.0.0/8 or fd00::/8, or *; got \"%.*s\"",
                      FL_SPAN_ARG(fl_list_shown(item)));
}

int fl_cidr_parse_address(struct fl_span text, struct fl_cidr *ret_address)
{
    char copy[INET6_ADDRSTRLEN + 1];
    struct fl_cidr address = {0};
    if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.data, '\0', text.len) != NULL)
        return -EINVAL;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    address.family = memchr(copy, ':', text.len) != NULL ? AF_INET6 : AF_INET;
    address.prefix = (uint8_t)(address_size(address.family) * 8);
    if (inet_pton(address.family, copy, address.address) != 1)
        return -EINVAL;
    *ret_address = address;
    return 0;
}

static void clear_host_bits(struct fl_cidr *cidr)
{
    for (size_t i = 0; i < address_size(cidr->family); i++) {
        size_t bits = i * 8 >= cidr->prefix ? 0 : cidr->prefix - i * 8;
        if (bits < 8)
            cidr->address[i] &= (uint8_t)(0xff00 >> bits);
    }
}

/* ::ffff:0:0/96 and what lies in it. */
static bool is_mapped(const struct fl_cidr *cidr)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    return cidr->family == AF_INET6 && cidr->prefix >= 96 && memcmp(cidr->address, prefix, sizeof(prefix)) == 0;
}

int fl_cidr_parse(struct fl_span text, struct fl_cidr *ret_cidr, struct fl_err *err)
{
    struct fl_cidr cidr;
    size_t slash = fl_span_find(text, '/');
    if (fl_cidr_parse_address(fl_span_make(text.data, slash), &cidr) < 0)
        return refuse(text, err);
    uint64_t most = cidr.prefix, prefix = most;
    if (slash < text.len && !fl_span_to_u64(fl_span_from(text, slash + 1), UINT64_MAX, &prefix))
        return refuse(text, err);
    if (prefix > most)
        return fl_err_set(err, -EINVAL, "expected a prefix from 0 to %u; got \"%.*s\"", (unsigned)most,
                          FL_SPAN_ARG(fl_list_shown(text)));
    cidr.prefix = (uint8_t)prefix;
    clear_host_bits(&cidr);
    if (is_mapped(&cidr))
        return fl_err_set(err, -EINVAL, "expected IPv4-mapped addresses to be written as IPv4; got \"%.*s\"",
                          FL_SPAN_ARG(text));
    *ret_cidr = cidr;
    return 0;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, size_t bits)
{
    size_t whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || (uint8_t)(a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

static bool contains(const struct fl_cidr *outer, const struct fl_cidr *inner)
{
    return outer->family == inner->family && outer->prefix <= inner->prefix &&
           same_bits(outer->address, inner->address, outer->prefix);
}

/* Whether the two are the halves of one CIDR. */
static bool halves(const struct fl_cidr *a, const struct fl_cidr *b)
{
    return a->family == b->family && a->prefix == b->prefix && a->prefix > 0 &&
           same_bits(a->address, b->address, a->prefix - 1u) && !contains(a, b);
}

static int compare(const struct fl_cidr *a, const struct fl_cidr *b)
{
    if (a->family != b->family)
        return a->family == AF_INET ? -1 : 1;
    return memcmp(a->address, b->address, address_size(a->family));
}

static void drop(struct fl_cidr_list *list, size_t index)
{
    list->count--;
    memmove(&list->cidrs[index], &list->cidrs[index + 1], (list->count - index) * sizeof(list->cidrs[0]));
}

/* Takes out of the list what `cidr` covers; where its other half is there, that too, and *cidr becomes the whole. */
static bool absorb(struct fl_cidr_list *list, struct fl_cidr *cidr)
{
    for (size_t i = list->count; i-- > 0;) {
        if (halves(&list->cidrs[i], cidr)) {
            drop(list, i);
            cidr->prefix--;
            clear_host_bits(cidr);
            return true;
        }
        if (contains(cidr, &list->cidrs[i]))
            drop(list, i);
    }
    return false;
}

static int insert(struct fl_cidr_list *list, struct fl_cidr cidr, struct fl_err *err)
{
    for (size_t i = 0; i < list->count; i++) {
        if (contains(&list->cidrs[i], &cidr))
            return 0;
    }
    while (absorb(list, &cidr))
        ;
    if (list->count == FL_CAPTURE_CIDRS)
        return fl_err_set(err, -EINVAL, "expected at most %d CIDRs", FL_CAPTURE_CIDRS);
    size_t at = 0;
    while (at < list->count && compare(&list->cidrs[at], &cidr) < 0)
        at++;
    memmove(&list->cidrs[at + 1], &list->cidrs[at], (list->count - at) * sizeof(list->cidrs[0]));
    list->cidrs[at] = cidr;
    list->count++;
    return 0;
}

int fl_cidr_list_merge(struct fl_cidr_list *list, struct fl_span item, struct fl_err *err)
{
    bool star = fl_span_eq_str(item, "*");
    if (list->all || (star && list->count > 0))
        return fl_err_set(err, -EINVAL, "expected * to stand alone: it means every address");
    if (star) {
        list->all = true;
        return 0;
    }
    struct fl_cidr cidr;
    int result = fl_cidr_parse(item, &cidr, err);
    return result < 0 ? result : insert(list, cidr, err);
}

void fl_cidr_list_settle(struct fl_cidr_list *list)
{
    /* Nothing stands beside /0 of its family. */
    if (list->count == 2 && list->cidrs[0].prefix == 0 && list->cidrs[1].prefix == 0)
        *list = (struct fl_cidr_list){.all = true};
}

static int merge(void *list, struct fl_span item, struct fl_err *err)
{
    return fl_cidr_list_merge(list, item, err);
}

int fl_cidr_list_parse(struct fl_span text, struct fl_cidr_list *ret_list, struct fl_err *err)
{
    struct fl_cidr_list list = {0};
    int result = fl_list_each(text, &list, merge, err);
    if (result < 0)
        return result;
    fl_cidr_list_settle(&list);
    *ret_list = list;
    return 0;
}

bool fl_cidr_list_contains(const struct fl_cidr_list *list, int family, const uint8_t *address)
{
    struct fl_cidr host = {.family = family, .prefix = (uint8_t)(address_size(family) * 8)};
    memcpy(host.address, address, address_size(family));
    for (size_t i = 0; i < list->count; i++) {
        if (contains(&list->cidrs[i], &host))
            return true;
    }
    return list->all;
}

void fl_cidr_print(const struct fl_cidr *cidr, char ret_text[FL_CIDR_PRINT_MAX])
{
    char address[INET6_ADDRSTRLEN];
    inet_ntop(cidr->family, cidr->address, address, sizeof(address));
    snprintf(ret_text, FL_CIDR_PRINT_MAX, "%s/%u", address, cidr->prefix);
}
