#include "common/kube/election.h"

#include "common/base/print.h"
#include "common/doc/json.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define RELEASED_SECONDS 1

/* Empty where it does not fit. */
static void copy_text(const struct fl_json *value, char *text, size_t size)
{
    struct fl_span span = fl_json_string(value);
    if (span.len >= size)
        span.len = 0;
    memcpy(text, span.len > 0 ? span.data : "", span.len);
    text[span.len] = '\0';
}

int fl_kube_lease_parse(struct fl_span json, struct fl_kube_lease_state *ret_lease, struct fl_err *err)
{
    const struct fl_json_limits limits = {.bytes_max = FL_KUBE_LEASE_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    int result = fl_json_parse(json, &limits, &root, err);
    if (result < 0)
        return result == -ENOMEM ? result : -EINVAL;
    struct fl_kube_lease_state lease = {.there = true, .seconds = RELEASED_SECONDS};
    const struct fl_json *spec = fl_json_get(root, "spec");
    copy_text(fl_json_get(fl_json_get(root, "metadata"), "resourceVersion"), lease.version, sizeof(lease.version));
    if (!fl_span_eq_str(fl_json_string(fl_json_get(root, "kind")), "Lease") || lease.version[0] == '\0')
        return fl_err_set(err, -EINVAL, "the answer is not a Lease with a version");
    copy_text(fl_json_get(spec, "holderIdentity"), lease.holder, sizeof(lease.holder));
    fl_json_int(fl_json_get(spec, "leaseDurationSeconds"), 1, FL_KUBE_LEASE_SECONDS_MAX, &lease.seconds);
    fl_json_int(fl_json_get(spec, "leaseTransitions"), 0, INT32_MAX - 1, &lease.transitions);
    *ret_lease = lease;
    return 0;
}

static bool is_ours(const struct fl_kube_election *election)
{
    return election->seen.there && strcmp(election->seen.holder, election->identity) == 0;
}

enum fl_kube_election_step fl_kube_election_next(const struct fl_kube_election *election, uint64_t now_ms)
{
    const struct fl_kube_lease_state *seen = &election->seen;
    if (!election->known)
        return FL_KUBE_ELECTION_READ;
    if (!seen->there)
        return FL_KUBE_ELECTION_MAKE;
    if (is_ours(election))
        return fl_kube_election_holds(election, now_ms) ? FL_KUBE_ELECTION_RENEW : FL_KUBE_ELECTION_TAKE;
    uint64_t dead_ms = seen->holder[0] != '\0' ? (uint64_t)seen->seconds * 1000 : 0;
    uint64_t others_ms = election->yields ? election->seconds * UINT64_C(1000) : 0;
    if (now_ms - election->seen_ms >= dead_ms + others_ms)
        return FL_KUBE_ELECTION_TAKE;
    return FL_KUBE_ELECTION_WAIT;
}

void fl_kube_election_saw(struct fl_kube_election *election, const struct fl_kube_lease_state *lease, uint64_t now_ms)
{
    bool same = election->seen.there == lease->there && strcmp(election->seen.version, lease->version) == 0 &&
                election->seen_ms != 0;
    if (!same)
        election->seen_ms = now_ms;
    election->seen = *lease;
    election->known = true;
    if (!is_ours(election))
        election->held_until_ms = 0;
}

void fl_kube_election_won(struct fl_kube_election *election, const struct fl_kube_lease_state *lease, uint64_t start_ms,
                          uint64_t now_ms)
{
    fl_kube_election_saw(election, lease, now_ms);
    if (is_ours(election))
        election->held_until_ms = start_ms + election->seconds * UINT64_C(1000) * 2 / 3;
}

void fl_kube_election_lost(struct fl_kube_election *election)
{
    election->known = false;
}

bool fl_kube_election_holds(const struct fl_kube_election *election, uint64_t now_ms)
{
    return now_ms < election->held_until_ms;
}

uint64_t fl_kube_election_period_ms(const struct fl_kube_election *election)
{
    return election->seconds * UINT64_C(1000) / 3;
}

unsigned fl_kube_election_request_ms(const struct fl_kube_election *election)
{
    unsigned ms = election->seconds * 1000 / 6;
    return ms < 5000 ? ms : 5000;
}

bool fl_kube_election_tells(struct fl_kube_election_told *told, const struct fl_err *err, uint64_t now_ms)
{
    bool same = told->text[0] != '\0' && strcmp(told->text, err->text) == 0;
    if (same && now_ms - told->at_ms < FL_KUBE_ELECTION_TELL_MS)
        return false;
    snprintf(told->text, sizeof(told->text), "%s", err->text);
    told->at_ms = now_ms;
    return true;
}

static void print_time(struct fl_print *print, const char *name, int64_t now_us)
{
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm parts;
    char text[32];
    gmtime_r(&seconds, &parts);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    fl_print(print, ",\"%s\":\"%s.%06dZ\"", name, text, (int)(now_us % 1000000));
}

int fl_kube_lease_print(const struct fl_kube_election *election, const char *name, const char *name_space,
                        int64_t now_us, bool release, struct fl_buf *out)
{
    const struct fl_kube_lease_state *seen = &election->seen;
    struct fl_print print = {.out = out};
    fl_print(&print, "{");
    if (!seen->there) {
        fl_print(&print, "\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":");
        fl_print_json(&print, fl_span_str(name));
        fl_print(&print, ",\"namespace\":");
        fl_print_json(&print, fl_span_str(name_space));
    } else {
        fl_print(&print, "\"metadata\":{\"resourceVersion\":");
        fl_print_json(&print, fl_span_str(seen->version));
    }
    fl_print(&print, "},\"spec\":{\"holderIdentity\":");
    fl_print_json(&print, fl_span_str(release ? "" : election->identity));
    fl_print(&print, ",\"leaseDurationSeconds\":%u", release ? RELEASED_SECONDS : election->seconds);
    print_time(&print, "renewTime", now_us);
    if (!is_ours(election)) {
        print_time(&print, "acquireTime", now_us);
        fl_print(&print, ",\"leaseTransitions\":%lld", (long long)(seen->there ? seen->transitions + 1 : 0));
    }
    fl_print(&print, "}}");
    return print.result;
}
