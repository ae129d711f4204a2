/* AdmissionReview in: the request of a review (admission.k8s.io/v1) as spans into its tree. Strict where the answer
 * depends on it, lenient on members that a newer API server may add. */
#ifndef WEBHOOK_REQUEST_H
#define WEBHOOK_REQUEST_H

#include "common/doc/json.h"
#include "webhook/limit.h"
#include "webhook/reason.h"

#define WEBHOOK_API_VERSION "admission.k8s.io/v1"
#define WEBHOOK_KIND        "AdmissionReview"

struct webhook_request { /* spans and trees belong to `root` */
    struct fl_json *root;
    struct fl_span uid, operation, subresource, name_space;
    struct fl_span group, version, resource; /* what is asked for: core pods are "", "v1", "pods" */
    struct fl_span name;                     /* request.name, else metadata.name, else metadata.generateName */
    const struct fl_json *object;            /* NULL: none (DELETE) */
    bool dry_run;
};

/* 0; a positive enum webhook_reason (NOT_JSON, NOT_A_REVIEW, API_VERSION) with the reason in err; -ENOMEM. */
int webhook_request_parse(struct fl_span body, struct webhook_request *ret_request, struct fl_err *err) FL_MUST_CHECK;
void webhook_request_done(struct webhook_request *request);

bool webhook_request_is_pod(const struct webhook_request *request);

/* "application/json", in any case, with or without parameters. */
bool webhook_content_type_ok(struct fl_span content_type);

#endif
