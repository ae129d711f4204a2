#include "common/xds/certificate.h"

#include "common/xds/message.h"
#include "common/xds/proto/ca.pb-c.h"

#include <errno.h>

typedef Istio__V1__Auth__IstioCertificateRequest pb_request;
typedef Istio__V1__Auth__IstioCertificateResponse pb_response;

int fl_certificate_request_read(struct fl_span wire, struct fl_arena *arena, struct fl_certificate_request *ret_request,
                                struct fl_err *err)
{
    ProtobufCMessage *message;
    int result =
        fl_xds_unpack(&istio__v1__auth__istio_certificate_request__descriptor, wire, arena, NULL, &message, err);
    if (result < 0)
        return result;
    const pb_request *request = (const pb_request *)message;
    *ret_request =
        (struct fl_certificate_request){.csr = fl_span_str(request->csr), .validity_s = request->validity_duration};
    return 0;
}

int fl_certificate_response_read(struct fl_span wire, struct fl_arena *arena,
                                 struct fl_certificate_response *ret_response, struct fl_err *err)
{
    ProtobufCMessage *message;
    int result =
        fl_xds_unpack(&istio__v1__auth__istio_certificate_response__descriptor, wire, arena, NULL, &message, err);
    if (result < 0)
        return result;
    const pb_response *response = (const pb_response *)message;
    if (response->n_cert_chain > FL_CERTIFICATE_CHAIN_MAX)
        return fl_err_set(err, -EINVAL, "cert_chain: more than %d elements", FL_CERTIFICATE_CHAIN_MAX);
    *ret_response = (struct fl_certificate_response){.count = response->n_cert_chain};
    for (size_t i = 0; i < response->n_cert_chain; i++)
        ret_response->chain[i] = fl_span_str(response->cert_chain[i]);
    return 0;
}

/* A text of a message; NULL with the reason in *ret_result. */
static char *text_of(struct fl_span text, struct fl_arena *arena, int *ret_result)
{
    char *copy = fl_arena_str(arena, text);
    if (copy == NULL)
        *ret_result = text.len > 0 && memchr(text.data, '\0', text.len) != NULL ? -EINVAL : -ENOMEM;
    return copy;
}

int fl_certificate_request_print(const struct fl_certificate_request *request, struct fl_arena *arena,
                                 struct fl_span *ret_wire)
{
    int result = 0;
    pb_request message;
    istio__v1__auth__istio_certificate_request__init(&message);
    message.csr = text_of(request->csr, arena, &result);
    message.validity_duration = request->validity_s;
    return result < 0 ? result : fl_xds_pack(&message.base, arena, ret_wire);
}

int fl_certificate_response_print(const struct fl_certificate_response *response, struct fl_arena *arena,
                                  struct fl_span *ret_wire)
{
    int result = 0;
    char *chain[FL_CERTIFICATE_CHAIN_MAX];
    pb_response message;
    istio__v1__auth__istio_certificate_response__init(&message);
    if (response->count > FL_CERTIFICATE_CHAIN_MAX)
        return -EINVAL;
    for (size_t i = 0; i < response->count && result == 0; i++)
        chain[i] = text_of(response->chain[i], arena, &result);
    message.cert_chain = chain;
    message.n_cert_chain = response->count;
    return result < 0 ? result : fl_xds_pack(&message.base, arena, ret_wire);
}
