/* How often what another writer takes out is put back: 128 times at once, for a writer that is merely busy; then after
 * a second, and each time that it has been taken out again after twice as long, up to a minute. Every two seconds of
 * quiet give one of the 128 back. Pure: the clock is the caller's.
 */
#ifndef CNI_INSTALL_THROTTLE_H
#define CNI_INSTALL_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define CNI_THROTTLE_BURST     128
#define CNI_THROTTLE_REFILL_MS 2000
#define CNI_THROTTLE_FIRST_MS  1000
#define CNI_THROTTLE_LAST_MS   60000

struct cni_throttle {
    uint64_t refilled_ms; /* up to here `left` is up to date */
    uint64_t until_ms;    /* nothing is put back before; 0: at once */
    uint32_t left;
    uint32_t pause_ms; /* of the last refusal; 0: none */
};

void cni_throttle_init(struct cni_throttle *throttle, uint64_t now_ms);
/* How long nothing may be put back yet; 0: now. */
uint64_t cni_throttle_wait(const struct cni_throttle *throttle, uint64_t now_ms);
/* It was put back. True: that was one too many, and a pause begins. */
bool cni_throttle_put_back(struct cni_throttle *throttle, uint64_t now_ms);
/* A look after a pause found it still in place: the quarrel is over. */
void cni_throttle_kept(struct cni_throttle *throttle, uint64_t now_ms);

#endif
