#include "cni/plugin/verbs.h"

#include "cni/capture/ability.h"
#include "cni/capture/apply.h"
#include "cni/capture/netns.h"
#include "cni/plugin/netconf.h"
#include "cni/plugin/sandbox.h"
#include "common/mesh/label.h"

#include <ctype.h>
#include <errno.h>

#define IFNAME_MAX 15 /* IFNAMSIZ without its NUL */

struct call {
    const struct cni_environment *environment;
    struct cni_netconf netconf;
    struct fl_buf *out;
    struct fl_err *err;
};

/* Verbs and their steps answer 0, or the code of the error object; call->err has the details then. */
struct verb {
    const char *name;
    int (*run)(struct call *call);
    const char *since; /* the first version of the spec that has it */
    bool attachment;   /* is about one container's interface */
    bool netns;        /* CNI_NETNS must be set */
    bool forgives;     /* succeeds also where members of the configuration are wrong */
};

/* --- answers --- */

int cni_verbs_print_error(struct fl_span version, enum cni_code code, const char *message, const char *details,
                          struct fl_buf *out)
{
    if (!cni_netconf_speaks(version))
        version = FL_SPAN(CNI_NETCONF_VERSION_LATEST);
    int result = fl_buf_printf(out, "{\"cniVersion\":\"%.*s\",\"code\":%d,\"msg\":", FL_SPAN_ARG(version), (int)code);
    if (result == 0)
        result = fl_buf_append_json_string(out, fl_span_str(message));
    if (result == 0 && details[0] != '\0') {
        result = fl_buf_append_str(out, ",\"details\":");
        if (result == 0)
            result = fl_buf_append_json_string(out, fl_span_str(details));
    }
    return result < 0 ? result : fl_buf_append_str(out, "}\n");
}

static const char *code_text(enum cni_code code)
{
    switch (code) {
    case CNI_CODE_VERSION:
        return "incompatible CNI version";
    case CNI_CODE_UNSUPPORTED:
        return "unsupported field in the network configuration";
    case CNI_CODE_ENVIRONMENT:
        return "invalid environment";
    case CNI_CODE_IO:
        return "input or output failed";
    case CNI_CODE_DECODE:
        return "the network configuration is not JSON";
    case CNI_CODE_CONFIG:
        return "invalid network configuration";
    case CNI_CODE_AGAIN:
        return "try again later";
    case CNI_CODE_UNAVAILABLE:
        return "the plugin is not available";
    case CNI_CODE_KERNEL:
        return "this kernel cannot capture";
    case CNI_CODE_CAPTURE:
        return "capture could not be programmed";
    case CNI_CODE_DIFFERS:
        return "capture is not as the pod's capture spec asks";
    default:
        return "failed";
    }
}

static int memory_is_out(struct call *call)
{
    fl_err_errno(call->err, -ENOMEM, "fairlead-cni");
    return CNI_CODE_IO;
}

/* --- the environment --- */

static bool is_set(const char *value)
{
    return value != NULL && value[0] != '\0';
}

/* Spec 1.1, section 2: alphanumeric first, then also '_', '.', '-'. */
static bool is_container_id(const char *text)
{
    if (!isalnum((unsigned char)text[0]))
        return false;
    for (; *text != '\0'; text++) {
        if (!isalnum((unsigned char)*text) && strchr("_.-", *text) == NULL)
            return false;
    }
    return true;
}

/* dev_valid_name() of the kernel. */
static bool is_ifname(const char *text)
{
    if (strlen(text) > IFNAME_MAX || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return false;
    for (; *text != '\0'; text++) {
        if (*text == '/' || *text == ':' || isspace((unsigned char)*text))
            return false;
    }
    return true;
}

static int check_environment(const struct verb *verb, struct call *call)
{
    const struct cni_environment *environment = call->environment;
    if (!verb->attachment)
        return 0;
    bool id = is_set(environment->container_id), ifname = is_set(environment->ifname);
    bool netns = !verb->netns || is_set(environment->netns);
    if (!id || !ifname || !netns) {
        fl_err_set(call->err, -EINVAL, "required but not set:%s%s%s", id ? "" : " CNI_CONTAINERID",
                   netns ? "" : " CNI_NETNS", ifname ? "" : " CNI_IFNAME");
        return CNI_CODE_ENVIRONMENT;
    }
    if (!is_container_id(environment->container_id)) {
        fl_err_set(call->err, -EINVAL, "CNI_CONTAINERID: \"%s\" is not a container ID", environment->container_id);
        return CNI_CODE_ENVIRONMENT;
    }
    if (!is_ifname(environment->ifname)) {
        fl_err_set(call->err, -EINVAL, "CNI_IFNAME: \"%s\" is not an interface name", environment->ifname);
        return CNI_CODE_ENVIRONMENT;
    }
    return 0;
}

/* --- steps --- */

static int read_plan(struct call *call, struct cni_plan *ret_plan)
{
    struct fl_capture capture;
    int result = fl_capture_parse(call->netconf.capture, &capture, call->err);
    if (result == -ENOMEM)
        return memory_is_out(call);
    if (result < 0) {
        fl_err_prefix(call->err, "annotation " FL_ANNOTATION_CAPTURE);
        return result == -ENOTSUP ? CNI_CODE_UNSUPPORTED : CNI_CODE_CONFIG;
    }
    return cni_plan_build(&capture, ret_plan) < 0 ? memory_is_out(call) : 0;
}

static int apply_code(int result)
{
    switch (result) {
    case 0:
        return 0;
    case CNI_APPLY_DIFFERS:
        return CNI_CODE_DIFFERS;
    case -EOPNOTSUPP:
        return CNI_CODE_KERNEL;
    case -EAGAIN:
        return CNI_CODE_AGAIN;
    default:
        return CNI_CODE_CAPTURE;
    }
}

/* Opens the netns that is the pod's. 0, or a code. */
static int open_netns(struct call *call, int *ret_netns)
{
    FL_CLEANUP(fl_cleanup_close) int netns = -1;
    const char *path = call->environment->netns;
    const struct fl_json *previous = fl_json_get(call->netconf.root, "prevResult");
    bool opened = cni_netns_open(path, &netns, call->err) == 0;
    int result = opened ? cni_sandbox_check(previous, path, netns, call->err) : 0;
    if (opened && result == 0) {
        *ret_netns = fl_take_fd(netns);
        return 0;
    }
    fl_err_prefix(call->err, "CNI_NETNS");
    return result < 0 ? apply_code(result) : CNI_CODE_ENVIRONMENT;
}

/* Reads settings and plan, opens the netns, and lets `apply` have them. */
static int with_plan(struct call *call,
                     int (*apply)(int netns, enum cni_backend backend, const struct cni_plan *plan, struct fl_err *err))
{
    FL_CLEANUP(fl_cleanup_close) int netns = -1;
    struct cni_settings settings;
    struct cni_plan plan;
    int code = cni_netconf_read_settings(&call->netconf, &settings, call->err) == 0 ? 0 : CNI_CODE_CONFIG;
    if (code == 0)
        code = read_plan(call, &plan);
    if (code == 0)
        code = open_netns(call, &netns);
    return code != 0 ? code : apply_code(apply(netns, settings.backend, &plan, call->err));
}

/* --- verbs --- */

/* The answer is written before the netns is touched: afterwards nothing can fail any more. */
static int run_add(struct call *call)
{
    int result = cni_netconf_print_result(&call->netconf, call->out, call->err);
    if (result < 0)
        return memory_is_out(call);
    if (result != 0)
        return CNI_CODE_CONFIG;
    return call->netconf.has_capture ? with_plan(call, cni_apply_program) : 0;
}

static int run_check(struct call *call)
{
    return call->netconf.has_capture ? with_plan(call, cni_apply_check) : 0;
}

/* Whatever is not as it should be is left alone, and told; that it is gone is what DEL is for. */
static int run_del(struct call *call)
{
    FL_CLEANUP(fl_cleanup_close) int netns = -1;
    if (!call->netconf.has_capture || !is_set(call->environment->netns))
        return 0;
    if (open_netns(call, &netns) == 0)
        (void)!cni_apply_remove(netns, CNI_BACKEND_AUTO, call->err);
    else if (call->err->code == -ENOENT)
        call->err->code = 0;
    return 0;
}

/* Nothing is kept outside the netns, so there is nothing to collect. */
static int run_gc(struct call *call)
{
    (void)call;
    return 0;
}

/* What fails here takes the whole node out of service, for pods too that are not captured: so only where the operator
 * wants that, and where it is certain. */
static int run_status(struct call *call)
{
    struct cni_settings settings;
    if (cni_netconf_read_settings(&call->netconf, &settings, call->err) != 0 || !settings.status_requires_capture)
        return 0;
    return cni_ability_check(settings.backend, call->err) == -EOPNOTSUPP ? CNI_CODE_UNAVAILABLE : 0;
}

static int run_version(struct call *call)
{
    struct fl_span version = call->netconf.version;
    if (!cni_netconf_speaks(version))
        version = FL_SPAN(CNI_NETCONF_VERSION_LATEST);
    int result = fl_buf_printf(call->out, "{\"cniVersion\":\"%.*s\",\"supportedVersions\":[", FL_SPAN_ARG(version));
    for (size_t i = 0; result == 0 && cni_netconf_versions[i] != NULL; i++)
        result = fl_buf_printf(call->out, "%s\"%s\"", i > 0 ? "," : "", cni_netconf_versions[i]);
    if (result == 0)
        result = fl_buf_append_str(call->out, "]}\n");
    return result < 0 ? memory_is_out(call) : 0;
}

static const struct verb verbs[] = {
    {"ADD", run_add, "0.3.0", .attachment = true, .netns = true},
    {"CHECK", run_check, "0.4.0", .attachment = true, .netns = true},
    {"DEL", run_del, "0.3.0", .attachment = true, .forgives = true},
    {"GC", run_gc, "1.1.0", .forgives = true},
    {"STATUS", run_status, "1.1.0", .forgives = true},
    {"VERSION", run_version, NULL, .attachment = false},
};

static int find_verb(struct call *call, const struct verb **ret_verb)
{
    const char *command = call->environment->command;
    if (!is_set(command)) {
        fl_err_set(call->err, -EINVAL, "required but not set: CNI_COMMAND");
        return CNI_CODE_ENVIRONMENT;
    }
    for (size_t i = 0; i < FL_COUNT(verbs); i++) {
        if (strcmp(command, verbs[i].name) == 0) {
            *ret_verb = &verbs[i];
            return 0;
        }
    }
    fl_err_set(call->err, -EINVAL, "CNI_COMMAND: \"%s\" is not a verb", command);
    return CNI_CODE_ENVIRONMENT;
}

static bool is_blank(struct fl_span text)
{
    size_t i = 0;
    while (i < text.len && isspace((unsigned char)text.data[i]))
        i++;
    return i == text.len;
}

static int parse_config(const struct verb *verb, struct call *call, struct fl_span config)
{
    if (verb->since == NULL && is_blank(config))
        return 0; /* VERSION needs no configuration */
    switch (cni_netconf_parse(config, &call->netconf, call->err)) {
    case 0:
        break;
    case CNI_NETCONF_NOT_JSON:
        return CNI_CODE_DECODE;
    case CNI_NETCONF_VERSION:
        if (verb->since == NULL)
            break;
        return CNI_CODE_VERSION;
    case CNI_NETCONF_INVALID:
        return verb->forgives ? 0 : CNI_CODE_CONFIG;
    default:
        return memory_is_out(call);
    }
    if (verb->since != NULL && !cni_netconf_at_least(call->netconf.version, verb->since)) {
        fl_err_set(call->err, -EINVAL, "$.cniVersion: \"%.*s\" has no %s", FL_SPAN_ARG(call->netconf.version),
                   verb->name);
        return CNI_CODE_VERSION;
    }
    call->err->code = 0;
    return 0;
}

static int run(struct call *call, struct fl_span config)
{
    const struct verb *verb = NULL;
    int code = find_verb(call, &verb);
    if (code == 0)
        code = parse_config(verb, call, config);
    if (code == 0)
        code = check_environment(verb, call);
    return code != 0 ? code : verb->run(call);
}

int cni_verbs_run(const struct cni_environment *environment, struct fl_span config, struct fl_buf *out,
                  struct fl_err *err)
{
    struct call call = {.environment = environment, .out = out, .err = err};
    *err = (struct fl_err){0};
    int code = run(&call, config);
    if (code != 0) {
        fl_buf_clear(out);
        if (cni_verbs_print_error(call.netconf.version, (enum cni_code)code, code_text((enum cni_code)code), err->text,
                                  out) < 0)
            fl_buf_clear(out);
    }
    cni_netconf_done(&call.netconf);
    return code != 0;
}
