/* Whole verbs: environment and stdin as a runtime (or somebody in its place) gives them, with a netns that the linker
 * puts in the kernel's place (--wrap). What is asked of the netns follows from what was asked of the plugin, and every
 * answer has the form of the spec.
 *
 * Input: verb, behaviour of the netns, then container, netns, interface and args, each ended by a NUL; the rest is
 * stdin.
 */
#include "cni/capture/ability.h"
#include "cni/capture/address.h"
#include "cni/capture/apply.h"
#include "cni/capture/netns.h"
#include "cni/plugin/netconf.h"
#include "cni/plugin/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* --- the netns, as the behaviour has it --- */

static struct {
    uint8_t behaviour;
    unsigned opened, asked, programmed, checked, removed;
    bool foreign;
} kernel;

int __wrap_cni_netns_open(const char *path, int *ret_fd, struct fl_err *err);
int __wrap_cni_netns_has_address(int netns, const struct fl_cidr *addresses, size_t count, bool *ret_has,
                                 struct fl_err *err);
int __wrap_cni_apply_program(int netns, enum cni_backend backend, const struct cni_plan *plan, struct fl_err *err);
int __wrap_cni_apply_check(int netns, enum cni_backend backend, const struct cni_plan *plan, struct fl_err *err);
int __wrap_cni_apply_remove(int netns, enum cni_backend backend, struct fl_err *err);
int __wrap_cni_ability_check(enum cni_backend backend, struct fl_err *err);

static int outcome(struct fl_err *err)
{
    static const int codes[] = {0, 0, 0, 0, CNI_APPLY_DIFFERS, -EOPNOTSUPP, -EAGAIN, -EPERM};
    int code = codes[kernel.behaviour >> 5];
    if (code != 0)
        fl_err_set(err, code < 0 ? code : -EBADMSG, "as the fuzzer wants");
    return code;
}

int __wrap_cni_netns_open(const char *path, int *ret_fd, struct fl_err *err)
{
    static const int results[] = {0, 0, 0, 0, CNI_NETNS_ABSENT, CNI_NETNS_FOREIGN, CNI_NETNS_HOST, -EACCES};
    int result = results[kernel.behaviour & 7];
    check(path != NULL && path[0] != '\0');
    kernel.opened++;
    if (result == 0)
        *ret_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    else
        fl_err_set(err, result == CNI_NETNS_ABSENT ? -ENOENT : -EINVAL, "%s: as the fuzzer wants", path);
    return result;
}

int __wrap_cni_netns_has_address(int netns, const struct fl_cidr *addresses, size_t count, bool *ret_has,
                                 struct fl_err *err)
{
    check(netns >= 0 && count > 0 && count <= 64);
    for (size_t i = 0; i < count; i++)
        check(addresses[i].prefix == (addresses[i].family == AF_INET ? 32 : 128));
    kernel.asked++;
    kernel.foreign = (kernel.behaviour & 24) != 0;
    if ((kernel.behaviour & 24) == 24)
        return fl_err_set(err, -EAGAIN, "as the fuzzer wants");
    *ret_has = !kernel.foreign;
    return 0;
}

int __wrap_cni_apply_program(int netns, enum cni_backend backend, const struct cni_plan *plan, struct fl_err *err)
{
    check(netns >= 0 && plan->rule_count > 0 && backend <= CNI_BACKEND_IPTABLES && !kernel.foreign);
    kernel.programmed++;
    return outcome(err);
}

int __wrap_cni_apply_check(int netns, enum cni_backend backend, const struct cni_plan *plan, struct fl_err *err)
{
    check(netns >= 0 && plan->rule_count > 0 && backend <= CNI_BACKEND_IPTABLES && !kernel.foreign);
    kernel.checked++;
    return outcome(err);
}

int __wrap_cni_apply_remove(int netns, enum cni_backend backend, struct fl_err *err)
{
    check(netns >= 0 && backend == CNI_BACKEND_AUTO && !kernel.foreign);
    kernel.removed++;
    return outcome(err);
}

int __wrap_cni_ability_check(enum cni_backend backend, struct fl_err *err)
{
    check(backend <= CNI_BACKEND_IPTABLES);
    return outcome(err);
}

/* --- what must hold --- */

static const char *const verbs[] = {"ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"};
enum { ADD, CHECK, DEL, GC, STATUS, VERSION };

static struct fl_json *read_answer(struct fl_span text)
{
    const struct fl_json_limits limits = {
        .bytes_max = 8u * CNI_NETCONF_BYTES_MAX, .depth_max = FL_JSON_DEPTH_MAX, .values_max = 1u << 20};
    struct fl_json *answer = NULL;
    check(fl_json_parse(text, &limits, &answer, NULL) == 0 && fl_json_is(answer, FL_JSON_OBJECT));
    check(fl_json_string(fl_json_get(answer, "cniVersion")).len > 0);
    return answer;
}

static void check_error(size_t verb, struct fl_span text)
{
    int64_t code = 0;
    struct fl_json *answer = read_answer(text);
    check(fl_json_int(fl_json_get(answer, "code"), 1, 102, &code));
    check(fl_json_string(fl_json_get(answer, "msg")).len > 0);
    /* A DEL that fails keeps a pod from ending: only for what makes it no call at all. */
    check(verb != DEL || code == CNI_CODE_VERSION || code == CNI_CODE_ENVIRONMENT || code == CNI_CODE_DECODE);
    check(verb == STATUS || code != CNI_CODE_UNAVAILABLE);
    fl_json_free(answer);
}

static void check_netns(size_t verb, struct fl_span config, int exit_code)
{
    struct cni_netconf netconf;
    struct fl_err err;
    int result = cni_netconf_parse(config, &netconf, &err);
    if (!netconf.has_capture || result != 0)
        check(verb == DEL || (kernel.opened == 0 && kernel.asked == 0));
    if (!netconf.has_capture || verb > DEL)
        check(kernel.opened == 0);
    check(kernel.opened <= 1 && kernel.asked <= 1);
    check(kernel.programmed <= (verb == ADD) && kernel.checked <= (verb == CHECK) && kernel.removed <= (verb == DEL));
    if (exit_code == 0 && netconf.has_capture && verb <= CHECK)
        check(kernel.programmed + kernel.checked == 1 && kernel.behaviour >> 5 < 4);
    cni_netconf_done(&netconf);
}

static const char *take_text(const uint8_t **data, size_t *size)
{
    const char *text = (const char *)*data;
    const uint8_t *end = *size > 0 ? memchr(*data, '\0', *size) : NULL;
    if (end == NULL)
        return NULL;
    *size -= (size_t)(end + 1 - *data);
    *data = end + 1;
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf out;
    struct cni_environment environment = {0};
    struct fl_err err;
    fl_buf_init(&out, 8u * CNI_NETCONF_BYTES_MAX);
    if (size < 2)
        return 0;
    size_t verb = data[0] % FL_COUNT(verbs);
    memset(&kernel, 0, sizeof(kernel));
    kernel.behaviour = data[1];
    data += 2;
    size -= 2;
    environment.command = verbs[verb];
    environment.container_id = take_text(&data, &size);
    environment.netns = take_text(&data, &size);
    environment.ifname = take_text(&data, &size);
    environment.args = take_text(&data, &size);
    struct fl_span config = fl_span_make(data, size);

    int exit_code = cni_verbs_run(&environment, config, &out, &err);
    check(exit_code == 0 || exit_code == 1);
    if (exit_code == 1) {
        check(err.code < 0 && err.text[0] != '\0');
        check_error(verb, fl_buf_span(&out));
    } else if (verb == ADD || verb == VERSION) {
        fl_json_free(read_answer(fl_buf_span(&out)));
    } else {
        check(out.len == 0);
    }
    check_netns(verb, config, exit_code);
    return 0;
}
