/* Who the client is by its certificate. A handshake asks for one, takes any, and proves that the client has its key;
 * whether it counts is judged here, when a handler asks: so that health and metrics need none. The judgement is kept
 * with the connection until the roots change or a minute is over: a certificate may end while a connection goes on.
 */
#include "common/http/inner.h"

#include <errno.h>
#include <gnutls/x509.h>

#define ROOTS_MAX 64
#define PEM_MAX   262144
#define CHAIN_MAX 8
#define CERT_MAX  65536 /* bytes of one in DER */
#define JUDGED_MS 60000
#define PURPOSE   GNUTLS_KP_TLS_WWW_CLIENT
#define OID_MAX   64

struct fl_http_judgement {
    struct fl_http_peer peer;
    uint64_t judged_ms;
    uint64_t generation; /* of the roots */
    char text[FL_HTTP_PEER_NAMES_MAX][FL_HTTP_PEER_NAME_MAX + 1];
};

/* -- roots -- */

static gnutls_datum_t datum_of(struct fl_span span)
{
    union {
        const char *from;
        unsigned char *to;
    } data = {.from = span.data};
    return (gnutls_datum_t){.data = data.to, .size = (unsigned)span.len};
}

static int check_authorities(gnutls_x509_crt_t *certs, unsigned count, struct fl_err *err)
{
    for (unsigned i = 0; i < count; i++) {
        if (gnutls_x509_crt_get_ca_status(certs[i], NULL) <= 0)
            return fl_err_set(err, -EINVAL, "client roots: certificate %u is no CA", i + 1);
    }
    return 0;
}

static void free_certs(gnutls_x509_crt_t *certs, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(certs[i]);
    gnutls_free(certs);
}

static int fail(struct fl_err *err, int error)
{
    return fl_err_set(err, error == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL, "client roots: %s",
                      gnutls_strerror(error));
}

int fl_http_roots_new(struct fl_span pem, gnutls_x509_trust_list_t *ret_roots, struct fl_err *err)
{
    gnutls_x509_crt_t *certs = NULL;
    gnutls_x509_trust_list_t roots;
    unsigned count = 0;
    gnutls_datum_t datum = datum_of(pem);
    if (pem.len > PEM_MAX)
        return fl_err_set(err, -EINVAL, "client roots: more than %d bytes", PEM_MAX);
    int error = gnutls_x509_crt_list_import2(&certs, &count, &datum, GNUTLS_X509_FMT_PEM, 0);
    if (error < 0)
        return fail(err, error);
    int result = count > ROOTS_MAX ? fl_err_set(err, -EINVAL, "client roots: more than %d", ROOTS_MAX)
                                   : check_authorities(certs, count, err);
    if (result == 0 && (error = gnutls_x509_trust_list_init(&roots, 0)) < 0)
        result = fail(err, error);
    if (result < 0) {
        free_certs(certs, count);
        return result;
    }
    int added = gnutls_x509_trust_list_add_cas(roots, certs, count, 0); /* the list owns them from here */
    gnutls_free(certs);
    if (added <= 0) {
        gnutls_x509_trust_list_deinit(roots, 1);
        return fail(err, added < 0 ? added : GNUTLS_E_MEMORY_ERROR);
    }
    *ret_roots = roots;
    return 0;
}

int fl_http_server_set_client_roots(struct fl_http_server *server, struct fl_span pem, struct fl_err *err)
{
    gnutls_x509_trust_list_t roots;
    if (server->client_roots == NULL)
        return fl_err_set(err, -EINVAL, "the server asks no client for a certificate");
    int result = fl_http_roots_new(pem, &roots, err);
    if (result < 0)
        return result;
    gnutls_x509_trust_list_deinit(server->client_roots, 1);
    server->client_roots = roots;
    server->client_generation++;
    return 0;
}

/* -- names -- */

static void add_name(struct fl_http_judgement *judgement, const char *text, size_t size)
{
    struct fl_http_peer *peer = &judgement->peer;
    if (peer->name_count == FL_HTTP_PEER_NAMES_MAX || size == 0 || size > FL_HTTP_PEER_NAME_MAX)
        return;
    memcpy(judgement->text[peer->name_count], text, size);
    peer->names[peer->name_count] = fl_span_make(judgement->text[peer->name_count], size);
    peer->name_count++;
}

/* A subject with two common names has none: nobody could say which one counts. */
static void read_names(gnutls_x509_crt_t leaf, struct fl_http_judgement *judgement)
{
    char text[FL_HTTP_PEER_NAME_MAX + 1];
    size_t size = sizeof(text);
    char second[2];
    size_t second_size = sizeof(second);
    bool alone = gnutls_x509_crt_get_dn_by_oid(leaf, GNUTLS_OID_X520_COMMON_NAME, 1, 0, second, &second_size) ==
                 GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
    if (alone && gnutls_x509_crt_get_dn_by_oid(leaf, GNUTLS_OID_X520_COMMON_NAME, 0, 0, text, &size) == 0)
        add_name(judgement, text, size);
    for (unsigned i = 0;; i++) {
        size = sizeof(text);
        int type = gnutls_x509_crt_get_subject_alt_name(leaf, i, text, &size, NULL);
        if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return;
        if (type == GNUTLS_SAN_DNSNAME || type == GNUTLS_SAN_URI)
            add_name(judgement, text, size);
        else if (type < 0 && type != GNUTLS_E_SHORT_MEMORY_BUFFER)
            return;
    }
}

/* -- the judgement -- */

/* One that says nothing of its purpose is not taken for a client's. */
static bool is_for_clients(gnutls_x509_crt_t leaf)
{
    for (unsigned i = 0;; i++) {
        char oid[OID_MAX];
        size_t size = sizeof(oid);
        int result = gnutls_x509_crt_get_key_purpose_oid(leaf, i, oid, &size, NULL);
        if (result == GNUTLS_E_SHORT_MEMORY_BUFFER)
            continue;
        if (result < 0)
            return false;
        if (strcmp(oid, PURPOSE) == 0)
            return true;
    }
}

static const char *trouble_of(unsigned status)
{
    if ((status & GNUTLS_CERT_EXPIRED) != 0)
        return "the client's certificate is expired";
    if ((status & GNUTLS_CERT_NOT_ACTIVATED) != 0)
        return "the client's certificate is not valid yet";
    if ((status & GNUTLS_CERT_PURPOSE_MISMATCH) != 0)
        return "the client's certificate is not for clients";
    return "the client's certificate is not of a root that is trusted";
}

/* NULL, or what is wrong. */
static const char *verify(gnutls_x509_trust_list_t roots, gnutls_x509_crt_t *chain, unsigned count)
{
    char purpose[] = PURPOSE;
    gnutls_typed_vdata_st wanted = {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)purpose};
    unsigned status = 0;
    if (gnutls_x509_trust_list_verify_crt2(roots, chain, count, &wanted, 1, 0, &status, NULL) < 0)
        return "the client's certificate could not be verified";
    if (status != 0)
        return trouble_of(status);
    return is_for_clients(chain[0]) ? NULL : "the client's certificate is not for clients";
}

static bool read_certificate(const gnutls_datum_t *raw, gnutls_x509_crt_t *ret_cert)
{
    if (raw->size > CERT_MAX || gnutls_x509_crt_init(ret_cert) < 0)
        return false;
    if (gnutls_x509_crt_import(*ret_cert, raw, GNUTLS_X509_FMT_DER) == 0)
        return true;
    gnutls_x509_crt_deinit(*ret_cert);
    return false;
}

static void judge_chain(const struct fl_http_server *server, const gnutls_datum_t *raw, unsigned count,
                        struct fl_http_judgement *judgement)
{
    gnutls_x509_crt_t chain[CHAIN_MAX];
    unsigned read = 0;
    const char *trouble = count <= CHAIN_MAX ? NULL : "the client's chain of certificates is too long";
    while (trouble == NULL && read < count) {
        if (read_certificate(&raw[read], &chain[read]))
            read++;
        else
            trouble = "the client's certificate could not be read";
    }
    if (trouble == NULL)
        trouble = verify(server->client_roots, chain, count);
    if (trouble == NULL)
        read_names(chain[0], judgement);
    judgement->peer.state = trouble == NULL ? FL_HTTP_PEER_GOOD : FL_HTTP_PEER_BAD;
    judgement->peer.trouble = trouble;
    while (read > 0)
        gnutls_x509_crt_deinit(chain[--read]);
}

static void judge(const struct fl_http_connection *connection, gnutls_session_t session,
                  struct fl_http_judgement *judgement)
{
    unsigned count = 0;
    const gnutls_datum_t *raw = gnutls_certificate_type_get2(session, GNUTLS_CTYPE_PEERS) == GNUTLS_CRT_X509
                                    ? gnutls_certificate_get_peers(session, &count)
                                    : NULL;
    judgement->peer = (struct fl_http_peer){.state = FL_HTTP_PEER_NONE};
    if (raw != NULL && count > 0)
        judge_chain(connection->server, raw, count, judgement);
    judgement->judged_ms = fl_loop_now_ms(connection->server->loop);
    judgement->generation = connection->server->client_generation;
}

const struct fl_http_peer *fl_http_request_peer(const struct fl_http_request *request)
{
    static const struct fl_http_peer nobody = {.state = FL_HTTP_PEER_NONE};
    static const struct fl_http_peer unjudged = {.state = FL_HTTP_PEER_BAD, .trouble = "memory was out"};
    struct fl_http_connection *connection = fl_http_request_connection(request);
    const union MHD_ConnectionInfo *info =
        connection == NULL || connection->server->client_roots == NULL
            ? NULL
            : MHD_get_connection_info(fl_http_request_handle(request), MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (info == NULL || info->tls_session == NULL)
        return &nobody;
    struct fl_http_judgement *judgement = connection->judgement;
    if (judgement == NULL)
        judgement = connection->judgement = calloc(1, sizeof(*judgement));
    if (judgement == NULL)
        return &unjudged;
    if (judgement->judged_ms == 0 || judgement->generation != connection->server->client_generation ||
        fl_loop_now_ms(connection->server->loop) - judgement->judged_ms > JUDGED_MS)
        judge(connection, info->tls_session, judgement);
    return &judgement->peer;
}

void fl_http_peer_ask(gnutls_session_t session)
{
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
}
