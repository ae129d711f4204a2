/* One condition of a policy, compiled: a tree of sets and negations over matchers of facts. Plain immutable data that
 * config fills (its pointers and spans live in the snapshot), read by a pure function.
 *
 * A condition has three answers. ERR is what a matcher says that cannot know: it asks for a request where there is
 * none, for a path that is not in its one form, for something past a limit. ERR is never turned into an answer: not ERR
 * is ERR; a set is YES or NO where the others decide it whatever the erring one would have said, else ERR. Whoever acts
 * on it denies (rbac.h).
 *
 * A field that comes several times is one list (route/match.h); where that does not match and a member of it would, it
 * is ERR: an application may read that member alone.
 *
 * What is absent is no error: a caller without identity is nobody's match (so "not Alice" holds for it), an absent
 * field is as route/match.h says, absent claims match nothing.
 */
#ifndef PROXY_POLICY_RULE_H
#define PROXY_POLICY_RULE_H

#include "common/mesh/capture.h"
#include "proxy/policy/fact.h"
#include "proxy/route/match.h"

#define PROXY_RULE_DEPTH_MAX 16   /* sets and negations inside each other; config refuses more */
#define PROXY_RULES_MAX      8192 /* of one RBAC message; config refuses more */
#define PROXY_CLAIM_LIST_MAX 1000 /* elements of a list that a claim's matcher looks at; a longer one errs */
#define PROXY_CLAIM_PATH_MAX 8    /* steps into a payload */

enum proxy_answer { PROXY_ANSWER_NO, PROXY_ANSWER_YES, PROXY_ANSWER_ERR };

/* -- values of claims (Envoy's ValueMatcher) -- */

enum proxy_claim_kind {
    PROXY_CLAIM_PRESENT, /* `flag`: whether it is there; absent ones match only where flag is false */
    PROXY_CLAIM_NULL,
    PROXY_CLAIM_BOOL,
    PROXY_CLAIM_STRING,
    PROXY_CLAIM_NUMBER, /* in [start, end), or where both are equal exactly that */
    PROXY_CLAIM_ONE_OF, /* a list with an element that list[0] matches */
    PROXY_CLAIM_OR,     /* any of list */
};

struct proxy_claim_match {
    enum proxy_claim_kind kind;
    bool flag;
    struct proxy_string_match string;
    double start, end;
    const struct proxy_claim_match *list;
    size_t count;
};

struct proxy_metadata_match {   /* in PROXY_CLAIMS_NAMESPACE: config refuses others, which hold nothing here */
    const struct fl_span *path; /* the payload's key, then members; at least one */
    size_t path_count;
    struct proxy_claim_match value;
    bool invert;
};

/* -- rules -- */

enum proxy_rule_kind {
    PROXY_RULE_ANY,
    PROXY_RULE_AND, /* of an empty set: config refuses it */
    PROXY_RULE_OR,
    PROXY_RULE_NOT,
    PROXY_RULE_AUTHENTICATED, /* somebody, verified */
    PROXY_RULE_IDENTITY, /* the SPIFFE ID, with or without "spiffe://" in front: exact and prefix match both forms */
    PROXY_RULE_DIRECT_SOURCE,
    PROXY_RULE_SOURCE,
    PROXY_RULE_DESTINATION,
    PROXY_RULE_DESTINATION_PORT,
    PROXY_RULE_SERVER_NAME, /* without regard to case */
    PROXY_RULE_HOST,        /* :authority, without regard to case, as it is or without its port */
    PROXY_RULE_HEADER,
    PROXY_RULE_PATH, /* without query and fragment */
    PROXY_RULE_METADATA,
};

struct proxy_rule {
    enum proxy_rule_kind kind;
    union {
        struct {
            const struct proxy_rule *rules; /* AND, OR: count of them; NOT: one */
            size_t count;
        } set;
        struct fl_cidr cidr;
        struct {
            uint16_t first, last; /* both included */
        } ports;
        struct proxy_string_match string; /* IDENTITY, SERVER_NAME, PATH */
        struct proxy_header_match header; /* HOST, HEADER */
        const struct proxy_metadata_match *metadata;
    };
};

/* No allocation; bounded by the rules and the request's head. Deeper than PROXY_RULE_DEPTH_MAX is ERR. */
enum proxy_answer proxy_rule_judge(const struct proxy_rule *rule, const struct proxy_facts *facts);

#endif
