#include "cni/agent/event.h"

#include "common/base/print.h"
#include "common/base/siphash.h"
#include "common/kube/object.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define NODE_NAMESPACE "default" /* where the kubelet puts its own about nodes */
#define TIME_MAX       32

static const struct {
    const char *word;
    bool warning;
} reasons[] = {
#define X(id, word, warning) [CNI_EVENT_##id] = {word, warning},
    CNI_EVENT_REASONS(X)
#undef X
};

static bool is_about_node(const struct cni_event *event)
{
    return event->name_space.len == 0;
}

static bool is_uid(struct fl_span uid)
{
    for (size_t i = 0; i < uid.len; i++) {
        char byte = uid.data[i];
        bool good = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                    byte == '-' || byte == '.';
        if (!good)
            return false;
    }
    return uid.len <= CNI_EVENT_UID_MAX;
}

static bool is_good(const struct cni_event *event)
{
    return (is_about_node(event) || fl_is_dns_label(event->name_space)) && fl_is_dns_subdomain(event->name) &&
           is_uid(event->uid);
}

/* A pod is its uid, where that is known, for the caller vouches for it: the names are the pod's own word, and one that
 * made up a name each time would have all Events there are. */
static uint64_t key_of(const struct cni_event *event)
{
    char text[FL_KUBE_NAMESPACE_MAX + FL_KUBE_NAME_MAX + CNI_EVENT_UID_MAX + 32];
    bool named = event->uid.len == 0 || is_about_node(event);
    int len = named ? snprintf(text, sizeof(text), "%d/%.*s/%.*s", (int)event->reason, FL_SPAN_ARG(event->name_space),
                               FL_SPAN_ARG(event->name))
                    : snprintf(text, sizeof(text), "%d//%.*s", (int)event->reason, FL_SPAN_ARG(event->uid));
    uint64_t key = fl_siphash(fl_span_make(text, len > 0 ? (size_t)len : 0));
    return key != 0 ? key : 1;
}

/* Its entry, or the one whose place it takes: a free one, or the oldest. */
static struct cni_event_kept *find(struct cni_event_memory *memory, uint64_t key)
{
    struct cni_event_kept *oldest = &memory->kept[0];
    for (size_t i = 0; i < CNI_EVENT_KEPT_MAX; i++) {
        struct cni_event_kept *kept = &memory->kept[i];
        if (kept->key == key)
            return kept;
        bool free_one = kept->key == 0 && oldest->key != 0;
        bool older = kept->key != 0 && oldest->key != 0 && kept->posted_ms < oldest->posted_ms;
        if (free_one || older)
            oldest = kept;
    }
    return oldest;
}

static bool take_from_bucket(struct cni_event_memory *memory, uint64_t now_ms)
{
    uint64_t refilled = (now_ms - memory->filled_ms) / CNI_EVENT_REFILL_MS;
    memory->spent -= refilled < memory->spent ? (unsigned)refilled : memory->spent;
    memory->filled_ms = memory->spent > 0 ? memory->filled_ms + refilled * CNI_EVENT_REFILL_MS : now_ms;
    if (memory->spent >= CNI_EVENT_BURST)
        return false;
    memory->spent++;
    return true;
}

enum cni_event_outcome cni_event_consider(struct cni_event_memory *memory, const struct cni_event *event,
                                          uint64_t now_ms, int64_t now_s, struct cni_event_telling *ret_telling)
{
    if (!is_good(event))
        return CNI_EVENT_BAD;
    uint64_t key = key_of(event);
    struct cni_event_kept *kept = find(memory, key);
    bool known = kept->key == key;
    if (known && now_ms - kept->posted_ms < CNI_EVENT_WINDOW_MS) {
        kept->first_s = kept->count == 0 ? now_s : kept->first_s;
        kept->count++;
        return CNI_EVENT_REPEATED;
    }
    if (!take_from_bucket(memory, now_ms))
        return CNI_EVENT_LIMITED;
    unsigned counted = known ? kept->count : 0;
    *ret_telling = (struct cni_event_telling){counted + 1, counted > 0 ? kept->first_s : now_s, now_s};
    *kept = (struct cni_event_kept){.key = key, .posted_ms = now_ms};
    return CNI_EVENT_POST;
}

static const char *time_text(int64_t seconds, char text[TIME_MAX])
{
    struct tm parts;
    time_t time = (time_t)seconds;
    if (gmtime_r(&time, &parts) == NULL || strftime(text, TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        return "1970-01-01T00:00:00Z";
    return text;
}

static struct fl_span cut_note(struct fl_span note)
{
    if (note.len <= CNI_EVENT_NOTE_MAX)
        return note;
    note.len = CNI_EVENT_NOTE_MAX;
    while (note.len > 0 && ((unsigned char)note.data[note.len] & 0xc0) == 0x80)
        note.len--; /* between characters */
    return note;
}

static void print_object(struct fl_print *print, const struct cni_event *event)
{
    fl_print(print, ",\"involvedObject\":{\"apiVersion\":\"v1\",\"kind\":\"%s\",\"name\":",
             is_about_node(event) ? "Node" : "Pod");
    fl_print_json(print, event->name);
    if (!is_about_node(event)) {
        fl_print(print, ",\"namespace\":");
        fl_print_json(print, event->name_space);
    }
    if (event->uid.len > 0) {
        fl_print(print, ",\"uid\":");
        fl_print_json(print, event->uid);
    }
    fl_print(print, "}");
}

int cni_event_print(const struct cni_event *event, const struct cni_event_telling *telling, struct fl_span node,
                    uint64_t unique, struct fl_buf *out)
{
    struct fl_print print = {.out = out};
    char first[TIME_MAX], last[TIME_MAX];
    struct fl_span stem = event->name.len > 200 ? fl_span_make(event->name.data, 200) : event->name;
    while (stem.len > 0 && (stem.data[stem.len - 1] == '.' || stem.data[stem.len - 1] == '-'))
        stem.len--;
    fl_print(&print,
             "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"%.*s.%016" PRIx64
             "\",\"namespace\":\"%.*s\"}",
             FL_SPAN_ARG(stem), unique,
             FL_SPAN_ARG(is_about_node(event) ? FL_SPAN(NODE_NAMESPACE) : event->name_space));
    print_object(&print, event);
    fl_print(&print,
             ",\"type\":\"%s\",\"reason\":\"%s\",\"message\":", reasons[event->reason].warning ? "Warning" : "Normal",
             reasons[event->reason].word);
    fl_print_json(&print, cut_note(event->note));
    fl_print(&print, ",\"count\":%u,\"firstTimestamp\":\"%s\",\"lastTimestamp\":\"%s\"", telling->count,
             time_text(telling->first_s, first), time_text(telling->last_s, last));
    fl_print(&print, ",\"source\":{\"component\":\"fairlead-agent\",\"host\":");
    fl_print_json(&print, node);
    fl_print(&print, "},\"reportingComponent\":\"fairlead.io/agent\",\"reportingInstance\":");
    fl_print_json(&print, node);
    fl_print(&print, "}");
    return print.result;
}

void cni_event_path(const struct cni_event *event, char ret_path[CNI_EVENT_PATH_MAX])
{
    snprintf(ret_path, CNI_EVENT_PATH_MAX, "/api/v1/namespaces/%.*s/events",
             FL_SPAN_ARG(is_about_node(event) ? FL_SPAN(NODE_NAMESPACE) : event->name_space));
}
