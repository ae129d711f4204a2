/* fairlead route explain: which rule would a request hit, and why. Reads the objects as the control plane does, and
 * asks the list of rules that it makes its resources from. */
#include "cli/command.h"
#include "cli/mirror.h"
#include "cli/option.h"

#include "control/model/explain.h"
#include "control/model/store.h"
#include "control/source/directory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME        "route"
#define HEADERS_MAX 32
#define ARENA_MAX   (64u << 20)
#define OUTPUT_MAX  (4u << 20)

struct question {
    struct cli_access access;
    const char *mesh; /* whose MeshSettings count */
    const char *source, *client, *method;
    struct fl_span service, name_space, from;
    uint16_t port;
    struct control_name_value headers[HEADERS_MAX];
    struct control_request request;
};

static int take_header(void *owner, const char *command, const char *value);

static const struct cli_option options[] = {
    {.name = "from",
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct question, client),
     .argument = "NAMESPACE",
     .help = "the client's namespace: routes of its own count there; default: the Service's",
     .offer = CLI_OFFER_NAMESPACES},
    {.name = "method",
     .letter = 'X',
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct question, method),
     .argument = "METHOD",
     .help = "default: GET"},
    {.name = "header",
     .letter = 'H',
     .kind = CLI_OPTION_CALL,
     .argument = "'NAME: VALUE'",
     .help = "a field of the request; may be given again, up to 32 times",
     .take = take_header},
    {.name = "source",
     .kind = CLI_OPTION_TEXT,
     .offset = offsetof(struct question, source),
     .argument = "directory:PATH",
     .help = "objects in files, as fairlead-control reads them, instead of a cluster's"},
    CLI_ACCESS_OPTIONS(struct question, "of the Service, and of --from; default: the context's"),
    CLI_MESH_OPTION(struct question),
};

const struct cli_command cli_route_command = {
    .name = NAME,
    .summary = "route explain: which rule would a request hit, and why",
    .usage = "explain SERVICE[.NAMESPACE]:PORT [PATH] [option …]",
    .about = "Which rule would a request to a Service's port hit, and why. PATH may have a query; default /. No proxy "
             "is asked.\n"
             "Gateways cannot be explained yet.\n",
    .options = options,
    .option_count = FL_COUNT(options),
    .words = "explain",
    .run = cli_route,
};

static void cleanup_loop(struct fl_loop **loop)
{
    fl_loop_free(*loop);
}

static void cleanup_store(struct control_store **store)
{
    control_store_free(*store);
}

static void cleanup_directory(struct control_directory **directory)
{
    control_directory_close(*directory);
}

static void on_commit(void *context, const struct control_diff *diff)
{
    (void)context;
    (void)diff;
}

static int print_routes(const struct control_service_routes *routes, const struct question *question,
                        struct fl_buf *out)
{
    int result = 0;
    switch (routes->routing) {
    case CONTROL_ROUTING_HTTP:
        return control_route_explain(&routes->http, &question->request, out);
    case CONTROL_ROUTING_TCP:
        result = fl_buf_printf(out, "TCPRoute %.*s/%.*s takes the whole port, whatever the request:\n",
                               FL_SPAN_ARG(routes->tcp_route->object.metadata.name_space),
                               FL_SPAN_ARG(routes->tcp_route->object.metadata.name));
        for (size_t i = 0; result == 0 && i < routes->tcp.count; i++) {
            const struct control_destination *to = &routes->tcp.items[i];
            if (to->error != CONTROL_BACKEND_OK)
                result = fl_buf_printf(out, "  %u of %llu: none (%s)\n", to->weight,
                                       (unsigned long long)routes->tcp.total, control_backend_reason(to->error));
            else
                result = fl_buf_printf(out, "  %u of %llu: Service %.*s/%.*s port %u\n", to->weight,
                                       (unsigned long long)routes->tcp.total,
                                       FL_SPAN_ARG(to->service->object.metadata.name_space),
                                       FL_SPAN_ARG(to->service->object.metadata.name), to->port->port);
        }
        return result;
    case CONTROL_ROUTING_NONE:
    default:
        return fl_buf_printf(out,
                             "no route is bound to Service %.*s/%.*s port %u as seen from namespace %.*s: the request "
                             "goes straight to the Service's endpoints\n",
                             FL_SPAN_ARG(question->name_space), FL_SPAN_ARG(question->service), question->port,
                             FL_SPAN_ARG(question->from));
    }
}

/* Where the target named no namespace, and where --from was not given. */
static void set_spaces(struct question *question, const char *own)
{
    if (question->name_space.len == 0)
        question->name_space = fl_span_str(question->access.name_space != NULL ? question->access.name_space : own);
    question->from = question->client != NULL ? fl_span_str(question->client) : question->name_space;
}

/* What the source could not take may be the reason why an answer surprises. */
static void print_problems(const struct control_model *model)
{
    const struct control_problems *problems = control_model_problems(model);
    for (size_t i = 0; problems != NULL && i < problems->count; i++)
        fprintf(stderr, "fairlead route: left out: %.*s\n", FL_SPAN_ARG(problems->items[i].text));
}

/* Rules that were dropped from the routes that name the Service, whether they are seen from there or not. */
static int print_dropped(const struct control_model *model, const struct question *question, struct fl_buf *out)
{
    struct control_objects routes =
        control_model_routes_of(model, CONTROL_SERVICE, question->name_space, question->service);
    int result = 0;
    for (size_t i = 0; i < routes.count && result == 0; i++) {
        const struct control_http_route *route = control_as_http_route(routes.items[i]);
        if (route != NULL)
            result = control_route_explain_dropped(route, out);
    }
    return result;
}

static int answer(const struct control_model *model, const struct question *question, struct fl_buf *out,
                  struct fl_err *err)
{
    const struct control_service *service = control_model_service(model, question->name_space, question->service);
    if (service == NULL)
        return fl_err_set(err, -ENOENT, "there is no Service %.*s in namespace %.*s", FL_SPAN_ARG(question->service),
                          FL_SPAN_ARG(question->name_space));
    const struct control_port *port = control_service_port(service, question->port);
    if (port == NULL)
        return fl_err_set(err, -ENOENT, "Service %.*s/%.*s has no TCP port %u", FL_SPAN_ARG(question->name_space),
                          FL_SPAN_ARG(question->service), question->port);
    struct fl_arena arena;
    struct control_service_routes routes;
    fl_arena_init(&arena, ARENA_MAX);
    int result = control_service_routes(model, service, port, question->from, &arena, &routes);
    if (result == 0)
        result = print_dropped(model, question, out);
    if (result == 0)
        result = print_routes(&routes, question, out);
    fl_arena_done(&arena);
    return result == 0 ? 0 : fl_err_errno(err, result, "the answer");
}

static int explain_directory(struct question *question, struct fl_buf *out, struct fl_err *err)
{
    FL_CLEANUP(cleanup_loop) struct fl_loop *loop = NULL;
    FL_CLEANUP(cleanup_store) struct control_store *store = NULL;
    FL_CLEANUP(cleanup_directory) struct control_directory *directory = NULL;
    int result = fl_loop_new(&loop);
    if (result == 0)
        result = control_store_new(&store);
    if (result < 0)
        return fl_err_errno(err, result, "start");
    control_store_set_root(store, fl_span_str(question->mesh));
    result = control_directory_open(loop, store, question->source, on_commit, NULL, &directory, err);
    if (result < 0)
        return result;
    set_spaces(question, CONTROL_DEFAULT_NAMESPACE);
    print_problems(control_store_model(store));
    return answer(control_store_model(store), question, out, err);
}

/* All that the list of rules is made from; endpoints are not. */
static int explain_mirror(struct question *question, struct cli_mirror *mirror, struct fl_buf *out, struct fl_err *err)
{
    static const enum control_kind kinds[] = {CONTROL_SERVICE,      CONTROL_HTTP_ROUTE,      CONTROL_GRPC_ROUTE,
                                              CONTROL_TCP_ROUTE,    CONTROL_REFERENCE_GRANT, CONTROL_NAMESPACE,
                                              CONTROL_MESH_SETTINGS};
    int result = 0;
    for (size_t i = 0; i < FL_COUNT(kinds) && result == 0; i++)
        result = cli_mirror_list(mirror, kinds[i], NULL, err);
    if (result == 0)
        result = cli_mirror_commit(mirror, err);
    return result < 0 ? result : answer(control_store_model(mirror->store), question, out, err);
}

static int explain_cluster(struct question *question, struct fl_buf *out, struct fl_err *err)
{
    struct cli_cluster cluster = {0};
    struct cli_mirror mirror = {0};
    int result = cli_cluster_open_for(&question->access, &cluster, err);
    if (result < 0)
        return result;
    set_spaces(question, cli_cluster_namespace(&cluster));
    result = cli_mirror_open(NAME, &cluster, question->mesh, &mirror, err);
    if (result == 0)
        result = explain_mirror(question, &mirror, out, err);
    cli_mirror_close(&mirror);
    cli_cluster_close(&cluster);
    return result;
}

static int explain(struct question *question)
{
    struct fl_err err = {0};
    struct fl_buf out;
    fl_buf_init(&out, OUTPUT_MAX);
    int result =
        question->source != NULL ? explain_directory(question, &out, &err) : explain_cluster(question, &out, &err);
    if (result == 0 && fwrite(out.data, 1, out.len, stdout) != out.len)
        result = fl_err_set(&err, -EIO, "the output could not be written");
    fl_buf_done(&out);
    return result == 0 ? CLI_OK : cli_failed(NAME, err.text);
}

/* --- arguments -------------------------------------------------------------------------------------------------- */

/* "server.demo:8080"; a last label "svc…" is not asked for: names are the Service's and the namespace's. */
static bool read_target(const char *text, struct question *question)
{
    struct fl_span rest = fl_span_str(text), name;
    uint64_t port;
    if (!fl_span_split(&rest, ':', &name) || !fl_span_to_u64(rest, UINT16_MAX, &port) || port == 0)
        return false;
    question->port = (uint16_t)port;
    if (!fl_span_split(&name, '.', &question->service) || question->service.len == 0)
        return false;
    question->name_space = name;
    return fl_span_find(question->name_space, '.') == question->name_space.len;
}

static int take_header(void *owner, const char *command, const char *value)
{
    struct question *question = owner;
    struct fl_span rest = fl_span_str(value), name;
    if (question->request.header_count == HEADERS_MAX)
        return cli_wrong(command, "--header: at most %d", HEADERS_MAX);
    if (!fl_span_split(&rest, ':', &name) || rest.data == NULL || name.len == 0)
        return cli_wrong(command, "--header: expected 'NAME: VALUE', got \"%s\"", value);
    question->headers[question->request.header_count++] = (struct control_name_value){name, fl_span_trim(rest), false};
    return -1;
}

/* What follows the options. -1: go on; else the exit status. */
static int read_operands(int count, char **operands, struct question *question)
{
    static const char lead[] = "directory:";
    if (count == 0 || strcmp(operands[0], "explain") != 0)
        return cli_wrong(NAME, "expected \"explain\"");
    if (question->source != NULL && strncmp(question->source, lead, sizeof(lead) - 1) != 0)
        return cli_wrong(NAME, "--source: expected directory:PATH, got \"%s\"", question->source);
    if (count < 2 || count > 3)
        return cli_wrong(NAME, "expected explain SERVICE[.NAMESPACE]:PORT [PATH]");
    if (strncmp(operands[1], "gateway/", strlen("gateway/")) == 0)
        return cli_wrong(NAME, "Gateways cannot be explained yet: expected SERVICE[.NAMESPACE]:PORT");
    if (!read_target(operands[1], question))
        return cli_wrong(NAME, "expected SERVICE[.NAMESPACE]:PORT, got \"%s\"", operands[1]);
    if (question->source != NULL)
        question->source += sizeof(lead) - 1;
    if (question->method != NULL)
        question->request.method = fl_span_str(question->method);
    if (count == 3)
        question->request.path = fl_span_str(operands[2]);
    return -1;
}

int cli_route(int argc, char **argv)
{
    struct question question = {.mesh = CLI_MESH_NAMESPACE,
                                .request = {.method = FL_SPAN("GET"), .path = FL_SPAN("/")}};
    int operand;
    question.request.headers = question.headers;
    int status = cli_options_read(&cli_route_command, argc, argv, &question, &operand);
    if (status < 0)
        status = read_operands(argc - operand, argv + operand, &question);
    return status >= 0 ? status : explain(&question);
}
