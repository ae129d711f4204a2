#include "cni/plugin/sandbox.h"

#include "cni/capture/address.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* --- sandboxes --- */

enum place { PLACE_UNKNOWN, PLACE_HERE, PLACE_ELSEWHERE };

/* All namespaces are files of one file system, so a number of another device is no namespace. */
static enum place place_of(struct fl_span sandbox, const char *path, const struct stat *netns)
{
    struct stat file;
    if (sandbox.len == 0 || sandbox.data[0] != '/')
        return PLACE_UNKNOWN;
    if (fl_span_eq_str(sandbox, path))
        return PLACE_HERE;
    if (stat(sandbox.data, &file) < 0 || file.st_dev != netns->st_dev)
        return PLACE_UNKNOWN;
    return file.st_ino == netns->st_ino ? PLACE_HERE : PLACE_ELSEWHERE;
}

static int check_sandboxes(const struct fl_json *previous, const char *path, int netns, struct fl_err *err)
{
    const struct fl_json *interfaces = fl_json_get(previous, "interfaces");
    struct fl_span elsewhere = {0};
    struct stat file;
    if (!fl_json_is(interfaces, FL_JSON_ARRAY) || fstat(netns, &file) < 0)
        return 0;
    for (struct fl_json *entry = fl_json_first(interfaces); entry != NULL; entry = fl_json_next(entry)) {
        struct fl_span sandbox = fl_json_string(fl_json_get(entry, "sandbox"));
        enum place place = place_of(sandbox, path, &file);
        if (place == PLACE_HERE)
            return 0;
        if (place == PLACE_ELSEWHERE)
            elsewhere = sandbox;
    }
    if (elsewhere.len == 0)
        return 0;
    fl_err_set(err, -EXDEV, "%s is not the namespace of prevResult's interfaces, which are in %.*s", path,
               FL_SPAN_ARG(elsewhere));
    return CNI_SANDBOX_FOREIGN;
}

/* --- addresses --- */

enum reach { REACH_NOBODY, REACH_LINK, REACH_GLOBAL };

static enum reach reach_of(const struct fl_cidr *address)
{
    static const uint8_t loopback[16] = {[15] = 1}, unspecified[16] = {0};
    const uint8_t *bytes = address->address;
    if (address->family == AF_INET) {
        if (bytes[0] == 127 || bytes[0] == 0)
            return REACH_NOBODY;
        return bytes[0] == 169 && bytes[1] == 254 ? REACH_LINK : REACH_GLOBAL;
    }
    if (memcmp(bytes, loopback, sizeof(loopback)) == 0 || memcmp(bytes, unspecified, sizeof(unspecified)) == 0)
        return REACH_NOBODY;
    return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80 ? REACH_LINK : REACH_GLOBAL;
}

struct addresses {
    size_t count;
    struct fl_cidr list[CNI_SANDBOX_ADDRESSES];
    struct fl_span first; /* the first one's text, for messages */
};

static void collect(const struct fl_json *ips, enum reach reach, struct addresses *addresses)
{
    addresses->count = 0;
    for (struct fl_json *ip = fl_json_first(ips); ip != NULL && addresses->count < CNI_SANDBOX_ADDRESSES;
         ip = fl_json_next(ip)) {
        struct fl_span text = fl_json_string(fl_json_get(ip, "address"));
        struct fl_cidr address;
        if (cni_address_parse(text, &address) < 0 || reach_of(&address) != reach)
            continue;
        if (addresses->count == 0)
            addresses->first = text;
        addresses->list[addresses->count++] = address;
    }
}

static int check_addresses(const struct fl_json *previous, const char *path, int netns, struct fl_err *err)
{
    const struct fl_json *ips = fl_json_get(previous, "ips");
    struct addresses addresses = {0};
    bool has = false;
    if (!fl_json_is(ips, FL_JSON_ARRAY))
        return 0;
    collect(ips, REACH_GLOBAL, &addresses);
    if (addresses.count == 0)
        collect(ips, REACH_LINK, &addresses);
    if (addresses.count == 0)
        return 0;
    int result = cni_netns_has_address(netns, addresses.list, addresses.count, &has, err);
    if (result < 0) {
        fl_err_prefix(err, "%s", path);
        return result;
    }
    if (has)
        return 0;
    fl_err_set(err, -EXDEV, "%s holds none of prevResult's addresses (%.*s%s): it is not the pod's, or not any more",
               path, FL_SPAN_ARG(addresses.first), addresses.count > 1 ? " …" : "");
    return CNI_SANDBOX_FOREIGN;
}

int cni_sandbox_check(const struct fl_json *previous, const char *path, int netns, struct fl_err *err)
{
    int result = check_sandboxes(previous, path, netns, err);
    return result != 0 ? result : check_addresses(previous, path, netns, err);
}
