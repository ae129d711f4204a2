#include "control/ca/signer.h"

#include "common/mesh/identity.h"

#include <arpa/inet.h>
#include <errno.h>

#define BACKDATED_S 60

static int check_identity(const struct control_signer *signer, struct fl_span uri, struct fl_err *err)
{
    struct fl_identity identity;
    int result = fl_identity_parse(uri, &identity, err);
    if (result == 0 && !fl_span_eq_str(identity.trust_domain, signer->trust_domain))
        return fl_err_set(err, -EINVAL, "the trust domain is not %s", signer->trust_domain);
    return result;
}

/* The request's validity within the signer's and the issuer's. */
static int set_validity(const struct control_signer *signer, uint32_t validity_s, time_t now,
                        struct fl_cert_request *request, struct fl_err *err)
{
    time_t issuer_from, issuer_to;
    fl_cert_validity(signer->root->cert, &issuer_from, &issuer_to);
    if (validity_s == 0 || validity_s > signer->validity_s)
        validity_s = signer->validity_s;
    request->not_before = now - BACKDATED_S > issuer_from ? now - BACKDATED_S : issuer_from;
    request->not_after = now + (time_t)validity_s < issuer_to ? now + (time_t)validity_s : issuer_to;
    if (request->not_after <= now)
        return fl_err_set(err, -EINVAL, "the issuing certificate has expired");
    return 0;
}

static bool is_ip_address(const char *text)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

struct names {
    const char *dns[CONTROL_SIGNER_NAMES_MAX + 1], *ip[CONTROL_SIGNER_NAMES_MAX + 1];
};

static void sort_names(const char *const *all, struct names *names)
{
    size_t dns = 0, ip = 0;
    for (; *all != NULL; all++) {
        if (is_ip_address(*all))
            names->ip[ip++] = *all;
        else
            names->dns[dns++] = *all;
    }
}

struct issued {
    struct fl_buf chain;
    char serial[FL_CERT_SERIAL_MAX];
    time_t not_after;
};

static int issue(const struct control_signer *signer, const struct control_channel_message *asked, time_t now,
                 struct issued *issued, struct fl_err *err)
{
    struct fl_cert_request request = {0};
    struct names names = {0};
    int result = 0;
    if (asked->kind == CONTROL_CHANNEL_SIGN) {
        result = check_identity(signer, asked->identity, err);
        request.uri = asked->identity;
    } else {
        sort_names(signer->server_names, &names);
        request.dns_names = names.dns;
        request.ip_addresses = names.ip;
    }
    FL_CLEANUP(fl_cleanup_key) struct fl_key *key = NULL;
    if (result == 0)
        result = set_validity(signer, asked->validity_s, now, &request, err);
    if (result == 0)
        result = fl_key_parse_public(asked->key, &key, err);
    if (result == 0)
        result = fl_cert_issue_pem(&request, key, signer->root->cert, signer->root->key, &issued->chain, issued->serial,
                                   err);
    issued->not_after = request.not_after;
    return result;
}

int control_signer_answer(const struct control_signer *signer, const struct control_channel_message *request,
                          time_t now, struct fl_buf *out)
{
    struct issued issued = {.not_after = 0};
    struct fl_err err = {0};
    fl_buf_init(&issued.chain, CONTROL_CHANNEL_ANSWER_MAX);
    struct control_channel_message answer = {.id = request->id};
    if (issue(signer, request, now, &issued, &err) == 0) {
        answer.kind = CONTROL_CHANNEL_SIGNED;
        answer.not_after = (uint64_t)issued.not_after;
        answer.serial = fl_span_str(issued.serial);
        answer.chain = fl_buf_span(&issued.chain);
    } else {
        answer.kind = CONTROL_CHANNEL_REFUSED;
        answer.text = fl_span_str(err.text);
    }
    int result = control_channel_write(&answer, out);
    fl_buf_done(&issued.chain);
    return result;
}
