#include "control/status/publisher.h"

#include "control/status/features.h"

#define BUNDLE_MS     300000 /* between looks */
#define CRD_PATH      "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gatewayclasses.gateway.networking.k8s.io"
#define METADATA_ONLY "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

static void on_bundle_timer(struct fl_timer *timer)
{
    publisher_ask_bundle(FL_CONTAINER_OF(timer, struct control_publisher, bundle_timer));
}

static void on_bundle(void *owner, const struct fl_kube_answer *answer)
{
    struct control_publisher *publisher = owner;
    struct fl_json *object = NULL;
    char bundle[sizeof(publisher->bundle)] = "";
    publisher->bundle_exchange = NULL;
    if (fl_kube_answer_check(answer, &(struct fl_err){0}) == 0 &&
        fl_json_parse(answer->body, NULL, &object, &(struct fl_err){0}) == 0) {
        const struct fl_json *annotations = fl_json_get(fl_json_get(object, "metadata"), "annotations");
        struct fl_span text = fl_json_string(fl_json_get(annotations, CONTROL_BUNDLE_ANNOTATION));
        if (text.len > 0 && text.len < sizeof(bundle))
            memcpy(bundle, text.data, text.len);
        fl_json_free(object);
    }
    fl_timer_set(publisher->loop, &publisher->bundle_timer, BUNDLE_MS, on_bundle_timer);
    if (bundle[0] == '\0' || strcmp(bundle, publisher->bundle) == 0)
        return; /* who may not read it knows nothing, and says nothing */
    memcpy(publisher->bundle, bundle, sizeof(bundle));
    void *value = NULL;
    for (size_t cursor = 0; fl_map_next(&publisher->entries, &cursor, NULL, &value);)
        if (((struct publisher_entry *)value)->kind == CONTROL_GATEWAY_CLASS)
            publisher_enqueue(value);
}

void publisher_ask_bundle(struct control_publisher *publisher)
{
    const struct fl_kube_request request = {
        .method = "GET", .path = CRD_PATH, .accept = METADATA_ONLY, .on_done = on_bundle, .owner = publisher};
    if (fl_kube_send(publisher->client, &request, &publisher->bundle_exchange, &(struct fl_err){0}) < 0)
        fl_timer_set(publisher->loop, &publisher->bundle_timer, BUNDLE_MS, on_bundle_timer);
}
