/* The program without its options: a loop, a client of the API, the election, and one look after the other. */
#ifndef WEBHOOK_KEEPER_KEEPER_H
#define WEBHOOK_KEEPER_KEEPER_H

#include "common/kube/election.h"
#include "webhook/keeper/cabundle.h"
#include "webhook/keeper/policy.h"

#define KEEPER_NAMES_MAX 16 /* of the leaf, with the NULL at their end */

struct keeper_options { /* strings are borrowed */
    const char *name_space;
    const char *service;   /* whose webhooks and whose names */
    const char *secret;    /* the leaf's: tls.crt, tls.key, ca.crt */
    const char *ca_secret; /* the roots' */
    const char *lease;
    const char *identity;
    const char *configurations[KEEPER_CONFIGURATIONS_MAX];
    size_t configuration_count;
    const char *selector;                /* of labels, instead of names; NULL: none */
    const char *names[KEEPER_NAMES_MAX]; /* DNS names of the leaf; ends with NULL */
    struct keeper_policy policy;
    unsigned lease_seconds;
    bool external;          /* `secret` is somebody else's work: only caBundles are kept */
    bool force;             /* take caBundles that belong to another field manager */
    const char *kubeconfig; /* NULL: the pod's own files */
    const char *context;    /* of the kubeconfig; NULL: the current one */
    const char *heartbeat;  /* file; NULL: none */
};

/* Runs until SIGTERM or SIGINT: 0, the Lease released. A negative errno with the reason: it could not start. */
int keeper_run(const struct keeper_options *options, struct fl_err *err) FL_MUST_CHECK;

#endif
