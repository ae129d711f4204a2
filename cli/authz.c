/* fairlead authz explain: would a caller be let in at a pod's port, and which policy decides. */
#include "cli/command.h"
#include "cli/mirror.h"
#include "cli/option.h"
#include "cli/verdict.h"

#include "common/base/arena.h"
#include "common/kube/object.h"
#include "common/mesh/port.h"
#include "control/source/directory.h"

#include <errno.h>
#include <stdio.h>

#define NAME        "authz"
#define HEADERS_MAX 32
#define CLAIMS_MAX  32
#define OUTPUT_MAX  (4u << 20)
#define ARENA_MAX   (4u << 20)
#define ID_MAX      1024
#define DENIED      3 /* exit status */

struct settings {
    struct cli_access access;
    const char *mesh; /* whose policies are for all */
    const char *source, *from, *method, *host, *address, *token;
    bool tcp, json;
    struct control_name_value headers[HEADERS_MAX];
    struct cli_claim claims[CLAIMS_MAX];
    struct fl_span pod, name_space;
    struct cli_caller caller;
    char identity[ID_MAX];
};

static int take_header(void *owner, const char *command, const char *value)
{
    struct settings *settings = owner;
    struct control_request *request = &settings->caller.request;
    struct fl_span rest = fl_span_str(value), name;
    if (request->header_count == HEADERS_MAX)
        return cli_wrong(command, "--header: at most %d", HEADERS_MAX);
    if (!fl_span_split(&rest, ':', &name) || rest.data == NULL || name.len == 0)
        return cli_wrong(command, "--header: expected 'NAME: VALUE', got \"%s\"", value);
    settings->headers[request->header_count++] = (struct control_name_value){name, fl_span_trim(rest), false};
    return -1;
}

static int take_claim(void *owner, const char *command, const char *value)
{
    struct settings *settings = owner;
    struct fl_span rest = fl_span_str(value), path;
    if (settings->caller.claim_count == CLAIMS_MAX)
        return cli_wrong(command, "--claim: at most %d", CLAIMS_MAX);
    if (!fl_span_split(&rest, '=', &path) || rest.data == NULL || path.len == 0)
        return cli_wrong(command, "--claim: expected NAME=VALUE, got \"%s\"", value);
    settings->claims[settings->caller.claim_count++] = (struct cli_claim){path, rest};
    return -1;
}

static const struct cli_option options[] = {
    {.name = "from",
     .letter = 'f',
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct settings, from),
     .argument = "WHO",
     .help = "NAMESPACE/SERVICEACCOUNT, spiffe://…, or none (plaintext)"},
    {.name = "method",
     .letter = 'X',
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct settings, method),
     .argument = "METHOD",
     .help = "default: GET"},
    {.name = "host",
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct settings, host),
     .argument = "HOST",
     .help = "of the request"},
    {.name = "header",
     .letter = 'H',
     .kind = CLI_OPTION_CALL,
     .argument = "'NAME: VALUE'",
     .help = "a field of the request; may be given again",
     .take = take_header},
    {.name = "ip",
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct settings, address),
     .argument = "ADDRESS",
     .help = "the caller's; without it, it is in no ipBlock"},
    {.name = "token",
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct settings, token),
     .argument = "ISS/SUB",
     .help = "a valid token of this issuer and subject comes with the request"},
    {.name = "claim",
     .kind = CLI_OPTION_CALL,
     .argument = "NAME=VALUE",
     .help = "a claim of that token, a.b=c for one within another; may be given again",
     .take = take_claim},
    {.name = "tcp",
     .kind = CLI_OPTION_FLAG,
     .offset = offsetof(struct settings, tcp),
     .help = "the port carries opaque bytes, not HTTP"},
    {.name = "source",
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct settings, source),
     .argument = "directory:PATH",
     .help = "objects in files, as fairlead-control reads them, instead of a cluster's"},
    CLI_ACCESS_OPTIONS(struct settings, "of the pod; default: the context's"),
    CLI_MESH_OPTION(struct settings),
    CLI_FORM_OPTION(struct settings, json),
};

const struct cli_command cli_authz_command = {
    .name = NAME,
    .summary = "authz explain: would a caller be let in at a pod's port, and which policy decides",
    .usage = "explain --from WHO POD[.NAMESPACE]:PORT [PATH] [option …]",
    .about = "Would the caller be let in, by the AuthorizationPolicies and the mTLS mode that are in force for the "
             "pod, and\n"
             "which of them decides. No proxy is asked. What is not given counts as not there.\n",
    .tail = "Exit status: 0 allowed, 3 denied, 1 it could not be told, 2 wrong usage.\n",
    .options = options,
    .option_count = FL_COUNT(options),
    .words = "explain",
    .offer = CLI_OFFER_PODS,
    .run = cli_authz,
};

/* --- the answer ------------------------------------------------------------------------------------------------- */

static const char *reason_of(enum cli_verdict_kind kind)
{
    switch (kind) {
    case CLI_VERDICT_OPEN:
        return "no ALLOW policy is for this pod, and no DENY matches";
    case CLI_VERDICT_ALLOWED:
        return "an ALLOW rule matches, and no DENY";
    case CLI_VERDICT_DENIED:
        return "a DENY rule matches";
    case CLI_VERDICT_UNMATCHED:
        return "ALLOW policies are for this pod, and none of their rules matches";
    case CLI_VERDICT_PLAINTEXT:
        return "mTLS is STRICT, and the caller has no identity";
    case CLI_VERDICT_OUTSIDE:
    default:
        return "the pod is not in the mesh: nothing is enforced there";
    }
}

static int print_rule(const struct control_authorization_policy *policy, size_t rule, const char *mismatch,
                      struct fl_buf *out)
{
    int result =
        fl_buf_printf(out, "  %-5s %.*s/%.*s rule %zu: ", policy->action == CONTROL_DENY ? "DENY" : "ALLOW",
                      FL_SPAN_ARG(policy->object.metadata.name_space), FL_SPAN_ARG(policy->object.metadata.name), rule);
    if (result == 0)
        result = mismatch == NULL ? fl_buf_append_str(out, "matches") : fl_buf_printf(out, "%s differs", mismatch);
    return result < 0 ? result : fl_buf_append_str(out, policy->dry_run ? " (dry run)\n" : "\n");
}

static int print_policy(const struct control_model *model, const struct control_workload *workload,
                        const struct control_authorization_policy *policy, const struct cli_caller *caller,
                        struct fl_buf *out)
{
    int result = 0;
    if (policy->object.broken.len > 0)
        return fl_buf_printf(out, "  DENY  %.*s/%.*s was not understood, and denies everything: %.*s\n",
                             FL_SPAN_ARG(policy->object.metadata.name_space), FL_SPAN_ARG(policy->object.metadata.name),
                             FL_SPAN_ARG(policy->object.broken));
    if (policy->rule_count == 0)
        return fl_buf_printf(out, "  %-5s %.*s/%.*s has no rules: it %s nothing\n",
                             policy->action == CONTROL_DENY ? "DENY" : "ALLOW",
                             FL_SPAN_ARG(policy->object.metadata.name_space), FL_SPAN_ARG(policy->object.metadata.name),
                             policy->action == CONTROL_DENY ? "denies" : "allows");
    for (size_t i = 0; i < policy->rule_count && result == 0; i++)
        result = print_rule(policy, i, cli_rule_mismatch(model, workload, policy, i, caller), out);
    return result;
}

static int print_policies(const struct control_model *model, const struct control_workload *workload,
                          const struct cli_caller *caller, struct fl_buf *out)
{
    struct control_objects all = {0};
    struct fl_arena arena;
    fl_arena_init(&arena, ARENA_MAX);
    int result = control_workload_policies(model, workload, CONTROL_AUTHORIZATION_POLICY, &arena, &all);
    for (size_t i = 0; i < all.count && result == 0; i++)
        result = print_policy(model, workload, control_as_authorization_policy(all.items[i]), caller, out);
    fl_arena_done(&arena);
    return result;
}

/* A Service's port is easily taken for the pod's, and rules of `ports` mean the pod's. */
static int print_port(const struct control_pod *pod, uint16_t port, struct fl_buf *out)
{
    size_t declared = 0;
    for (size_t i = 0; i < pod->port_count; i++) {
        if (pod->ports[i].port == port)
            return 0;
        declared += pod->ports[i].port != FL_PORT_STATS;
    }
    return declared == 0 ? 0
                         : fl_buf_printf(out,
                                         "  note  no container of the pod declares port %u: what counts is the "
                                         "pod's own, a Service's targetPort\n",
                                         port);
}

static int print_text(const struct control_model *model, const struct settings *settings,
                      const struct control_workload *workload, const struct cli_verdict *verdict, struct fl_buf *out)
{
    const struct cli_caller *caller = &settings->caller;
    int result = fl_buf_printf(out, "pod %.*s/%.*s port %u, from %s", FL_SPAN_ARG(settings->name_space),
                               FL_SPAN_ARG(settings->pod), caller->port,
                               caller->identity.len > 0 ? settings->identity : "nobody (plaintext)");
    if (result == 0)
        result = caller->tcp ? fl_buf_append_str(out, ": TCP\n")
                             : fl_buf_printf(out, ": %.*s %.*s\n", FL_SPAN_ARG(caller->request.method),
                                             FL_SPAN_ARG(caller->request.path));
    if (result == 0)
        result = print_port(workload->pod, caller->port, out);
    if (result == 0)
        result = fl_buf_printf(out, "  mTLS  %s\n", control_mtls_name(verdict->mtls));
    if (result == 0 && workload->meshed)
        result = print_policies(model, workload, caller, out);
    if (result == 0)
        result = fl_buf_printf(out, "%s", cli_verdict_is_allowed(verdict) ? "ALLOWED" : "DENIED");
    if (result == 0 && verdict->policy != NULL)
        result = fl_buf_printf(out, " by %.*s/%.*s", FL_SPAN_ARG(verdict->policy->object.metadata.name_space),
                               FL_SPAN_ARG(verdict->policy->object.metadata.name));
    if (result == 0 && verdict->policy != NULL && verdict->policy->rule_count > 0)
        result = fl_buf_printf(out, " rule %zu", verdict->rule);
    if (result == 0)
        result = fl_buf_printf(out, ": %s\n", reason_of(verdict->kind));
    if (result == 0 && verdict->shadow != NULL)
        result = fl_buf_printf(out, "dry run: %.*s/%.*s would deny it\n",
                               FL_SPAN_ARG(verdict->shadow->object.metadata.name_space),
                               FL_SPAN_ARG(verdict->shadow->object.metadata.name));
    return result;
}

static int print_name(const char *member, const struct control_authorization_policy *policy, struct fl_buf *out)
{
    int result = fl_buf_printf(out, ",\"%s\":", member);
    if (result == 0 && policy == NULL)
        return fl_buf_append_str(out, "null");
    if (result == 0)
        result = fl_buf_append_str(out, "{\"namespace\":");
    if (result == 0)
        result = fl_buf_append_json_string(out, policy->object.metadata.name_space);
    if (result == 0)
        result = fl_buf_append_str(out, ",\"name\":");
    if (result == 0)
        result = fl_buf_append_json_string(out, policy->object.metadata.name);
    return result < 0 ? result : fl_buf_append_str(out, "}");
}

static int print_json(const struct settings *settings, const struct cli_verdict *verdict, struct fl_buf *out)
{
    int result = fl_buf_printf(out, "{\"allowed\":%s,\"mtls\":\"%s\",\"identity\":",
                               cli_verdict_is_allowed(verdict) ? "true" : "false", control_mtls_name(verdict->mtls));
    if (result == 0)
        result = fl_buf_append_json_string(out, settings->caller.identity);
    if (result == 0)
        result = fl_buf_printf(out, ",\"reason\":\"%s\"", reason_of(verdict->kind));
    if (result == 0)
        result = print_name("policy", verdict->policy, out);
    if (result == 0 && verdict->policy != NULL && verdict->policy->rule_count > 0)
        result = fl_buf_printf(out, ",\"rule\":%zu", verdict->rule);
    if (result == 0)
        result = print_name("dry_run", verdict->shadow, out);
    return result < 0 ? result : fl_buf_append_str(out, "}\n");
}

/* The identity in the mesh's trust domain, where a service account was given. */
static int set_identity(const struct control_model *model, struct settings *settings, struct fl_err *err)
{
    struct fl_span rest = fl_span_str(settings->from), name_space, domain = control_model_settings(model).trust_domain;
    if (strcmp(settings->from, "none") == 0)
        return 0;
    if (fl_span_starts_with(rest, FL_SPAN("spiffe://")))
        (void)snprintf(settings->identity, sizeof(settings->identity), "%s", settings->from);
    else if (fl_span_split(&rest, '/', &name_space) && fl_is_dns_label(name_space) && fl_is_dns_subdomain(rest))
        (void)snprintf(settings->identity, sizeof(settings->identity), "spiffe://%.*s/ns/%.*s/sa/%.*s",
                       FL_SPAN_ARG(domain), FL_SPAN_ARG(name_space), FL_SPAN_ARG(rest));
    else
        return fl_err_set(err, -EINVAL, "--from: expected NAMESPACE/SERVICEACCOUNT, spiffe://… or none, got \"%s\"",
                          settings->from);
    settings->caller.identity = fl_span_str(settings->identity);
    return 0;
}

static int answer(const struct control_model *model, struct settings *settings, struct fl_buf *out, bool *ret_allowed,
                  struct fl_err *err)
{
    const struct control_pod *pod = control_model_pod(model, settings->name_space, settings->pod);
    struct control_workload workload;
    struct cli_verdict verdict;
    if (pod == NULL)
        return fl_err_set(err, -ENOENT, "there is no pod %.*s in namespace %.*s", FL_SPAN_ARG(settings->pod),
                          FL_SPAN_ARG(settings->name_space));
    control_workload_of_pod(pod, &workload);
    int result = set_identity(model, settings, err);
    if (result < 0)
        return result;
    result = cli_verdict_judge(model, &workload, &settings->caller, &verdict);
    if (result == 0)
        result = settings->json ? print_json(settings, &verdict, out)
                                : print_text(model, settings, &workload, &verdict, out);
    if (result < 0)
        return fl_err_errno(err, result, "the answer");
    *ret_allowed = cli_verdict_is_allowed(&verdict);
    return 0;
}

/* --- where objects come from ------------------------------------------------------------------------------------ */

static int read_policies(struct cli_mirror *mirror, const char *name_space, struct fl_err *err)
{
    static const enum control_kind kinds[] = {CONTROL_AUTHORIZATION_POLICY, CONTROL_REQUEST_AUTHENTICATION,
                                              CONTROL_PEER_AUTHENTICATION, CONTROL_MESH_SETTINGS};
    int result = 0;
    for (size_t i = 0; i < FL_COUNT(kinds) && result == 0; i++)
        result = cli_mirror_list(mirror, kinds[i], name_space, err);
    return result;
}

static int answer_cluster(struct settings *settings, struct fl_buf *out, bool *ret_allowed, struct fl_err *err)
{
    struct cli_cluster cluster = {0};
    struct cli_mirror mirror = {0};
    char name_space[FL_KUBE_NAMESPACE_MAX + 1];
    int result = cli_cluster_open_for(&settings->access, &cluster, err);
    if (result < 0)
        return result;
    if (settings->name_space.len == 0)
        settings->name_space = fl_span_str(settings->access.name_space != NULL ? settings->access.name_space
                                                                               : cli_cluster_namespace(&cluster));
    (void)snprintf(name_space, sizeof(name_space), "%.*s", FL_SPAN_ARG(settings->name_space));
    result = cli_mirror_open(NAME, &cluster, settings->mesh, &mirror, err);
    if (result == 0)
        result = cli_mirror_get(&mirror, CONTROL_POD, settings->name_space, settings->pod, err);
    if (result == -ENOENT)
        fl_err_prefix(err, "expected the name of a pod, not of a Service or workload");
    if (result == 0)
        result = read_policies(&mirror, name_space, err);
    if (result == 0 && strcmp(name_space, settings->mesh) != 0)
        result = read_policies(&mirror, settings->mesh, err);
    if (result == 0)
        result = cli_mirror_commit(&mirror, err);
    if (result == 0)
        result = answer(control_store_model(mirror.store), settings, out, ret_allowed, err);
    cli_mirror_close(&mirror);
    cli_cluster_close(&cluster);
    return result;
}

static void on_commit(void *context, const struct control_diff *diff)
{
    (void)context, (void)diff;
}

static int answer_directory(struct settings *settings, struct fl_buf *out, bool *ret_allowed, struct fl_err *err)
{
    struct fl_loop *loop = NULL;
    struct control_store *store = NULL;
    struct control_directory *directory = NULL;
    int result = fl_loop_new(&loop);
    if (result == 0)
        result = control_store_new(&store);
    if (result < 0)
        (void)fl_err_errno(err, result, "start");
    else
        control_store_set_root(store, fl_span_str(settings->mesh));
    if (result == 0)
        result = control_directory_open(loop, store, settings->source, on_commit, NULL, &directory, err);
    if (settings->name_space.len == 0)
        settings->name_space =
            fl_span_str(settings->access.name_space != NULL ? settings->access.name_space : CONTROL_DEFAULT_NAMESPACE);
    if (result == 0)
        result = answer(control_store_model(store), settings, out, ret_allowed, err);
    control_directory_close(directory);
    control_store_free(store);
    fl_loop_free(loop);
    return result;
}

static int explain(struct settings *settings)
{
    struct fl_err err = {0};
    struct fl_buf out;
    bool allowed = false;
    fl_buf_init(&out, OUTPUT_MAX);
    int result = settings->source != NULL ? answer_directory(settings, &out, &allowed, &err)
                                          : answer_cluster(settings, &out, &allowed, &err);
    if (result == 0 && (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0))
        result = fl_err_set(&err, -EIO, "the output could not be written");
    fl_buf_done(&out);
    return result < 0 ? cli_failed(NAME, err.text) : allowed ? CLI_OK : DENIED;
}

/* --- arguments -------------------------------------------------------------------------------------------------- */

/* "web-1.shop:8080", "shop/web-1:8080", "web-1:8080". */
static bool read_target(const char *text, struct settings *settings)
{
    struct fl_span rest = fl_span_str(text), name, first;
    uint64_t port;
    if (!fl_span_split(&rest, ':', &name) || !fl_span_to_u64(rest, UINT16_MAX, &port) || port == 0)
        return false;
    settings->caller.port = (uint16_t)port;
    settings->pod = name;
    if (fl_span_find(name, '/') < name.len && fl_span_split(&name, '/', &first)) {
        settings->name_space = first;
        settings->pod = name;
    } else if (fl_span_find(name, '.') < name.len && fl_span_split(&name, '.', &first)) {
        settings->pod = first;
        settings->name_space = name;
    }
    return fl_is_dns_subdomain(settings->pod) &&
           (settings->name_space.len == 0 || fl_is_dns_label(settings->name_space));
}

static int read_rest(struct settings *settings)
{
    static const char lead[] = "directory:";
    struct fl_span token = fl_span_str(settings->token);
    if (settings->from == NULL)
        return cli_wrong(NAME, "--from WHO is missing: NAMESPACE/SERVICEACCOUNT, spiffe://… or none");
    if (settings->source != NULL && strncmp(settings->source, lead, sizeof(lead) - 1) != 0)
        return cli_wrong(NAME, "--source: expected directory:PATH, got \"%s\"", settings->source);
    if (settings->source != NULL)
        settings->source += sizeof(lead) - 1;
    if (settings->address != NULL && control_ip_parse(fl_span_str(settings->address), &settings->caller.ip) < 0)
        return cli_wrong(NAME, "--ip: expected an IP address, got \"%s\"", settings->address);
    if (settings->method != NULL)
        settings->caller.request.method = fl_span_str(settings->method);
    settings->caller.host = fl_span_str(settings->host);
    settings->caller.tcp = settings->tcp;
    /* The issuer may be a URL: the subject is what stands behind the last '/'. */
    for (size_t i = token.len; i > 0 && settings->caller.issuer.len == 0; i--)
        if (token.data[i - 1] == '/') {
            settings->caller.issuer = fl_span_make(token.data, i - 1);
            settings->caller.subject = fl_span_from(token, i);
        }
    if (settings->token != NULL && (settings->caller.issuer.len == 0 || settings->caller.subject.len == 0))
        return cli_wrong(NAME, "--token: expected ISSUER/SUBJECT, got \"%s\"", settings->token);
    return -1;
}

int cli_authz(int argc, char **argv)
{
    struct settings settings = {.mesh = CLI_MESH_NAMESPACE,
                                .caller.request = {.method = FL_SPAN("GET"), .path = FL_SPAN("/")}};
    int operand;
    settings.caller.request.headers = settings.headers;
    settings.caller.claims = settings.claims;
    int status = cli_options_read(&cli_authz_command, argc, argv, &settings, &operand);
    if (status >= 0)
        return status;
    if (operand == argc || strcmp(argv[operand], "explain") != 0)
        return cli_wrong(NAME, "expected \"explain\"");
    if (argc - operand < 2 || argc - operand > 3)
        return cli_wrong(NAME, "expected explain POD[.NAMESPACE]:PORT [PATH]");
    if (!read_target(argv[operand + 1], &settings))
        return cli_wrong(NAME, "expected POD[.NAMESPACE]:PORT, got \"%s\"", argv[operand + 1]);
    if (argc - operand == 3)
        settings.caller.request.path = fl_span_str(argv[operand + 2]);
    status = read_rest(&settings);
    return status >= 0 ? status : explain(&settings);
}
