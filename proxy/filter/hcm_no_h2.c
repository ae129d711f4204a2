/* In place of hcm_h2.c while there is no session (http/h2.h) to build on. */
#include "proxy/filter/hcm_inner.h"

#include <errno.h>

int hcm_h2_start(struct proxy_hcm *hcm)
{
    (void)hcm;
    return -ENOMEM;
}

size_t hcm_h2_data(struct proxy_hcm *hcm, struct fl_span bytes)
{
    (void)hcm;
    return bytes.len;
}

void hcm_h2_drain(struct proxy_hcm *hcm)
{
    (void)hcm;
}

void hcm_h2_done(struct proxy_hcm *hcm)
{
    (void)hcm;
}

void hcm_h2_free(struct proxy_hcm *hcm)
{
    (void)hcm;
}
