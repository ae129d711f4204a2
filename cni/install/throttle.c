#include "cni/install/throttle.h"

void cni_throttle_init(struct cni_throttle *throttle, uint64_t now_ms)
{
    *throttle = (struct cni_throttle){.left = CNI_THROTTLE_BURST, .refilled_ms = now_ms};
}

static void refill(struct cni_throttle *throttle, uint64_t now_ms)
{
    uint64_t count = (now_ms - throttle->refilled_ms) / CNI_THROTTLE_REFILL_MS;
    uint64_t left = throttle->left + count;
    throttle->left = left < CNI_THROTTLE_BURST ? (uint32_t)left : CNI_THROTTLE_BURST;
    throttle->refilled_ms += count * CNI_THROTTLE_REFILL_MS;
}

uint64_t cni_throttle_wait(const struct cni_throttle *throttle, uint64_t now_ms)
{
    return throttle->until_ms > now_ms ? throttle->until_ms - now_ms : 0;
}

bool cni_throttle_put_back(struct cni_throttle *throttle, uint64_t now_ms)
{
    /* in a quarrel the quiet of a pause is ours, not the other's */
    if (throttle->pause_ms == 0)
        refill(throttle, now_ms);
    if (throttle->pause_ms == 0 && throttle->left > 0) {
        throttle->left--;
        return false;
    }
    uint32_t pause = throttle->pause_ms == 0 ? CNI_THROTTLE_FIRST_MS : 2 * throttle->pause_ms;
    throttle->pause_ms = pause < CNI_THROTTLE_LAST_MS ? pause : CNI_THROTTLE_LAST_MS;
    throttle->until_ms = now_ms + throttle->pause_ms;
    return true;
}

void cni_throttle_kept(struct cni_throttle *throttle, uint64_t now_ms)
{
    if (throttle->pause_ms == 0)
        return;
    *throttle = (struct cni_throttle){.refilled_ms = now_ms, .left = CNI_THROTTLE_BURST / 8};
}
