#include "cni/repair/claim.h"

#include "cni/capture/address.h"
#include "common/mesh/label.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

enum { CAPTURE, POD_NAMESPACE, POD, POD_UID, POD_IPS };
enum { IN_NAME = -1, IN_OTHER = -2 };

static const struct {
    const char *name;
    size_t max; /* bytes of the value */
} variables[CNI_CLAIM_NAMES] = {
    [CAPTURE] = {FL_ENV_CAPTURE, CNI_CLAIM_CAPTURE_MAX},
    [POD_NAMESPACE] = {FL_ENV_POD_NAMESPACE, CNI_CLAIM_NAMESPACE},
    [POD] = {FL_ENV_POD_NAME, CNI_CLAIM_POD},
    [POD_UID] = {FL_ENV_POD_UID, CNI_CLAIM_UID},
    [POD_IPS] = {FL_ENV_POD_IPS, CNI_CLAIM_ADDRESSES *(INET6_ADDRSTRLEN + 1)},
};

void cni_claim_done(struct cni_claim *claim)
{
    free(claim->capture);
    *claim = (struct cni_claim){0};
}

/* --- feeding --- */

void cni_claim_reader_init(struct cni_claim_reader *reader)
{
    *reader = (struct cni_claim_reader){.into = IN_NAME};
    for (size_t i = 0; i < CNI_CLAIM_NAMES; i++)
        fl_buf_init(&reader->values[i], variables[i].max);
}

void cni_claim_reader_done(struct cni_claim_reader *reader)
{
    for (size_t i = 0; i < CNI_CLAIM_NAMES; i++)
        fl_buf_done(&reader->values[i]);
}

/* Which variable the name that was read begins the value of. */
static int find_variable(const struct cni_claim_reader *reader)
{
    for (int i = 0; i < CNI_CLAIM_NAMES; i++) {
        if (!reader->found[i] && reader->name_len < sizeof(reader->name) &&
            fl_span_eq_str(fl_span_make(reader->name, reader->name_len), variables[i].name))
            return i;
    }
    return IN_OTHER;
}

static void read_name(struct cni_claim_reader *reader, struct fl_span part)
{
    size_t room = sizeof(reader->name) - reader->name_len;
    size_t len = part.len < room ? part.len : room; /* a name that fills the room is none of ours */
    if (len > 0)
        memcpy(reader->name + reader->name_len, part.data, len);
    reader->name_len += len;
}

/* The bytes of `part` belong to one entry. */
static int read_part(struct cni_claim_reader *reader, struct fl_span part)
{
    if (reader->into == IN_NAME && part.len > 0) {
        const char *equals = memchr(part.data, '=', part.len);
        size_t len = equals != NULL ? (size_t)(equals - part.data) : part.len;
        read_name(reader, fl_span_make(part.data, len));
        if (equals == NULL)
            return 0;
        reader->into = find_variable(reader);
        part = fl_span_make(equals + 1, part.len - len - 1);
    }
    if (reader->into < 0)
        return 0;
    int result = fl_buf_append(&reader->values[reader->into], part);
    if (result == -EMSGSIZE)
        reader->overlong[reader->into] = true;
    return result == -EMSGSIZE ? 0 : result;
}

static void end_entry(struct cni_claim_reader *reader)
{
    if (reader->into >= 0)
        reader->found[reader->into] = true;
    reader->into = IN_NAME;
    reader->name_len = 0;
}

static bool is_complete(const struct cni_claim_reader *reader)
{
    bool complete = true;
    for (size_t i = 0; i < CNI_CLAIM_NAMES; i++)
        complete = complete && reader->found[i];
    return complete;
}

int cni_claim_feed(struct cni_claim_reader *reader, struct fl_span bytes)
{
    while (bytes.len > 0 && !is_complete(reader)) {
        const char *end = memchr(bytes.data, '\0', bytes.len);
        size_t len = end != NULL ? (size_t)(end - bytes.data) : bytes.len;
        size_t used = end != NULL ? len + 1 : len;
        if (used > CNI_CLAIM_ENVIRON_MAX - reader->total)
            return -EMSGSIZE;
        reader->total += used;
        int result = read_part(reader, fl_span_make(bytes.data, len));
        if (result < 0)
            return result;
        if (end != NULL)
            end_entry(reader);
        bytes = fl_span_make(bytes.data + used, bytes.len - used);
    }
    return is_complete(reader) ? CNI_CLAIM_COMPLETE : 0;
}

int cni_claim_excerpt(struct cni_claim_reader *reader, struct fl_buf *out)
{
    int result = 0;
    end_entry(reader);
    for (size_t i = 0; result == 0 && i < CNI_CLAIM_NAMES; i++) {
        if (!reader->found[i])
            continue;
        result = fl_buf_append_str(out, variables[i].name);
        if (result == 0)
            result = fl_buf_append_byte(out, '=');
        if (result == 0)
            result = fl_buf_append(out, fl_buf_span(&reader->values[i]));
        for (size_t more = variables[i].max + 1 - reader->values[i].len; /* so that it is overlong there too */
             result == 0 && reader->overlong[i] && more > 0; more--)
            result = fl_buf_append_byte(out, 'x');
        if (result == 0)
            result = fl_buf_append_byte(out, '\0');
    }
    return result;
}

/* --- believing the form --- */

static int wrong(struct fl_err *err, int variable, const char *what)
{
    fl_err_set(err, -EINVAL, "%s %s", variables[variable].name, what);
    return CNI_CLAIM_WRONG;
}

static bool is_name(struct fl_span text, const char *more)
{
    for (size_t i = 0; i < text.len; i++) {
        const char c = text.data[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && (c == '\0' || strchr(more, c) == NULL))
            return false;
    }
    return text.len > 0;
}

static int take_name(const struct cni_claim_reader *reader, int variable, const char *more, char *ret_text,
                     struct fl_err *err)
{
    struct fl_span text = fl_buf_span(&reader->values[variable]);
    if (!is_name(text, more))
        return wrong(err, variable, "is no name");
    memcpy(ret_text, text.data, text.len); /* the buffer's limit is the text's */
    ret_text[text.len] = '\0';
    return 0;
}

/* One that tells pods apart: every netns has the loopback ones, and link-local ones are not a pod's. */
static bool is_pod_address(const struct fl_cidr *address)
{
    const uint8_t *a = address->address;
    struct in6_addr six;
    if (address->family == AF_INET)
        return a[0] != 0 && a[0] != 127 && a[0] < 224 && !(a[0] == 169 && a[1] == 254);
    memcpy(&six, a, sizeof(six));
    static const uint8_t reserved[12]; /* ::/96: unspecified, loopback, our ::6 */
    return !IN6_IS_ADDR_LINKLOCAL(&six) && !IN6_IS_ADDR_MULTICAST(&six) && memcmp(a, reserved, sizeof(reserved)) != 0;
}

static int take_addresses(const struct cni_claim_reader *reader, struct cni_claim *claim, struct fl_err *err)
{
    struct fl_span text = fl_buf_span(&reader->values[POD_IPS]);
    while (text.len > 0 && claim->address_count < CNI_CLAIM_ADDRESSES) {
        const char *comma = memchr(text.data, ',', text.len);
        size_t len = comma != NULL ? (size_t)(comma - text.data) : text.len;
        struct fl_cidr *address = &claim->addresses[claim->address_count++];
        if (memchr(text.data, '/', len) != NULL || cni_address_parse(fl_span_make(text.data, len), address) != 0 ||
            !is_pod_address(address))
            return wrong(err, POD_IPS, "holds something that is no pod's address");
        size_t used = comma != NULL ? len + 1 : len;
        if (comma != NULL && used == text.len)
            return wrong(err, POD_IPS, "ends with a comma");
        text = fl_span_make(text.data + used, text.len - used);
    }
    if (claim->address_count == 0 || text.len > 0)
        return wrong(err, POD_IPS, claim->address_count == 0 ? "is empty" : "holds too many addresses");
    return 0;
}

static int take_capture(const struct cni_claim_reader *reader, struct cni_claim *claim, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    struct fl_capture capture;
    struct fl_err why = {0};
    fl_buf_init(&text, FL_CAPTURE_TEXT_MAX);
    int result = fl_capture_parse(fl_buf_span(&reader->values[CAPTURE]), &capture, &why);
    if (result == -ENOMEM)
        return result;
    if (result < 0) {
        fl_err_set(err, result, FL_ENV_CAPTURE ": %s", why.text);
        return CNI_CLAIM_WRONG;
    }
    result = fl_capture_print(&capture, &text);
    if (result < 0)
        return result;
    claim->capture = malloc(text.len);
    if (claim->capture == NULL)
        return -ENOMEM;
    memcpy(claim->capture, text.data, text.len);
    claim->capture_len = text.len;
    claim->uid = capture.uid;
    claim->gid = capture.gid;
    return 0;
}

static int take_all(const struct cni_claim_reader *reader, struct cni_claim *claim, struct fl_err *err)
{
    for (int i = 0; i < CNI_CLAIM_NAMES; i++) {
        if (!reader->found[i] || reader->overlong[i])
            return wrong(err, i, reader->found[i] ? "is too long" : "is missing");
    }
    int result = take_name(reader, POD_NAMESPACE, "-", claim->pod_namespace, err);
    if (result == 0)
        result = take_name(reader, POD, "-.", claim->pod, err);
    if (result == 0)
        result = take_name(reader, POD_UID, "-", claim->pod_uid, err);
    if (result == 0)
        result = take_addresses(reader, claim, err);
    if (result == 0)
        result = take_capture(reader, claim, err);
    return result;
}

int cni_claim_finish(struct cni_claim_reader *reader, struct cni_claim *ret_claim, struct fl_err *err)
{
    FL_CLEANUP(cni_claim_done) struct cni_claim claim = {0};
    end_entry(reader);
    if (!reader->found[CAPTURE])
        return CNI_CLAIM_NONE;
    int result = take_all(reader, &claim, err);
    if (result == 0) {
        *ret_claim = claim;
        claim.capture = NULL;
    }
    return result;
}
