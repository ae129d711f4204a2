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

static int issue(const struct control_signer *signer, const struct control_channel_message *asked, time_t now,
                 struct fl_cert **ret_cert, struct fl_err *err)
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
        result = fl_cert_issue(&request, key, signer->root->cert, signer->root->key, ret_cert, err);
    return result;
}

static int answer_signed(uint32_t id, const struct fl_cert *cert, struct fl_buf *out)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf chain;
    char serial[FL_CERT_SERIAL_MAX];
    time_t from, to;
    fl_buf_init(&chain, CONTROL_CHANNEL_ANSWER_MAX);
    int result = fl_cert_print(cert, &chain);
    if (result < 0)
        return result;
    fl_cert_serial(cert, serial);
    fl_cert_validity(cert, &from, &to);
    const struct control_channel_message answer = {.kind = CONTROL_CHANNEL_SIGNED,
                                                   .id = id,
                                                   .not_after = (uint64_t)to,
                                                   .serial = fl_span_str(serial),
                                                   .chain = fl_buf_span(&chain)};
    return control_channel_write(&answer, out);
}

int control_signer_answer(const struct control_signer *signer, const struct control_channel_message *request,
                          time_t now, struct fl_buf *out)
{
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *cert = NULL;
    struct fl_err err = {0};
    if (issue(signer, request, now, &cert, &err) == 0)
        return answer_signed(request->id, cert, out);
    const struct control_channel_message refusal = {
        .kind = CONTROL_CHANNEL_REFUSED, .id = request->id, .text = fl_span_str(err.text)};
    return control_channel_write(&refusal, out);
}
