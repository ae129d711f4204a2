#include "webhook/keeper/policy.h"

#include "common/base/span.h"

#include <errno.h>
#include <inttypes.h>

void keeper_policy_init(struct keeper_policy *policy)
{
    *policy = (struct keeper_policy){
        .validity = KEEPER_VALIDITY_DEFAULT,
        .renew_before = KEEPER_RENEW_DEFAULT,
        .ca_validity = KEEPER_CA_VALIDITY_DEFAULT,
        .propagation = KEEPER_PROPAGATION_DEFAULT,
        .overlap = KEEPER_OVERLAP_DEFAULT,
    };
}

uint64_t keeper_policy_ca_renew_before(const struct keeper_policy *policy)
{
    return policy->validity + 2 * policy->propagation + policy->overlap;
}

static int check_bounds(const struct keeper_policy *policy, struct fl_err *err)
{
    const struct {
        const char *option;
        uint64_t value, min, max;
    } rows[] = {
        {"--validity", policy->validity, 2, KEEPER_SECONDS_MAX},
        {"--renew-before", policy->renew_before, 1, KEEPER_SECONDS_MAX},
        {"--ca-validity", policy->ca_validity, 4, KEEPER_SECONDS_MAX},
        {"--propagation", policy->propagation, 0, KEEPER_WAIT_SECONDS_MAX},
        {"--overlap", policy->overlap, 0, KEEPER_WAIT_SECONDS_MAX},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        if (rows[i].value < rows[i].min || rows[i].value > rows[i].max)
            return fl_err_set(err, -EINVAL, "%s: expected seconds from %" PRIu64 " to %" PRIu64, rows[i].option,
                              rows[i].min, rows[i].max);
    }
    return 0;
}

int keeper_policy_check(const struct keeper_policy *policy, struct fl_err *err)
{
    int result = check_bounds(policy, err);
    if (result < 0)
        return result;
    if (policy->renew_before >= policy->validity)
        return fl_err_set(err, -EINVAL,
                          "--renew-before (%" PRIu64 " s) must be less than --validity (%" PRIu64
                          " s): a leaf would be renewed as soon as it is made",
                          policy->renew_before, policy->validity);
    uint64_t waits = policy->propagation + policy->overlap;
    if (policy->renew_before <= waits)
        return fl_err_set(err, -EINVAL,
                          "--renew-before (%" PRIu64
                          " s) must be more than --propagation and --overlap together (%" PRIu64
                          " s): a leaf could end before every webhook serves the next one",
                          policy->renew_before, waits);
    uint64_t least = 2 * keeper_policy_ca_renew_before(policy);
    if (policy->ca_validity < least)
        return fl_err_set(err, -EINVAL,
                          "--ca-validity (%" PRIu64 " s) must be at least %" PRIu64
                          " s: twice --validity + 2 × --propagation + --overlap",
                          policy->ca_validity, least);
    return 0;
}
