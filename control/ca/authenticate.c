#include "control/ca/authenticate.h"

#define SCHEME FL_SPAN("Bearer ")

const char *control_auth_word(enum control_auth_outcome outcome)
{
    static const char *const words[] = {
#define X(id, word) [CONTROL_AUTH_##id] = word,
        CONTROL_AUTH_OUTCOMES(X)
#undef X
    };
    return words[outcome];
}

bool control_auth_is_final(enum control_auth_outcome outcome)
{
    return outcome != CONTROL_AUTH_UNAVAILABLE && outcome != CONTROL_AUTH_BUSY;
}

static void finish(struct control_authentication *authentication, enum control_auth_outcome outcome)
{
    static const struct control_caller nobody;
    authentication->on_done(authentication, outcome, &nobody);
}

void control_authenticate(struct control_authenticator *authenticator, struct control_authentication *authentication,
                          struct fl_span authorization)
{
    authentication->authenticator = NULL;
    struct fl_span scheme = {authorization.data, SCHEME.len};
    if (authorization.len <= SCHEME.len || !fl_span_eq_nocase(scheme, SCHEME)) {
        finish(authentication, CONTROL_AUTH_MISSING);
        return;
    }
    struct fl_span token = fl_span_trim(fl_span_from(authorization, SCHEME.len));
    if (token.len == 0 || token.len > CONTROL_TOKEN_MAX) {
        finish(authentication, token.len == 0 ? CONTROL_AUTH_MISSING : CONTROL_AUTH_MALFORMED);
        return;
    }
    authenticator->begin(authenticator, authentication, token);
}

void control_authentication_cancel(struct control_authentication *authentication)
{
    struct control_authenticator *authenticator = fl_take(authentication->authenticator);
    if (authenticator != NULL && authenticator->cancel != NULL)
        authenticator->cancel(authenticator, authentication);
}

struct control_authenticator *control_authenticator_free(struct control_authenticator *authenticator)
{
    if (authenticator != NULL)
        authenticator->free(authenticator);
    return NULL;
}

int control_caller_identity(const struct control_caller *caller, const char *trust_domain, struct fl_buf *out,
                            struct fl_err *err)
{
    struct fl_identity identity = {fl_span_str(trust_domain), fl_span_str(caller->name_space),
                                   fl_span_str(caller->service_account)};
    return fl_identity_print(&identity, out, err);
}
