#include "proxy/net/learned.h"

#include <stdlib.h>

struct proxy_learned_place {
    uint64_t until_ms; /* 0: empty */
    uint32_t hash;
};

void proxy_learned_done(struct proxy_learned *learned)
{
    free(learned->places);
    learned->places = NULL;
}

static struct proxy_learned_place *place_of(const struct proxy_learned *learned, uint32_t hash)
{
    return &learned->places[hash % PROXY_LEARNED_PLACES];
}

void proxy_learned_note(struct proxy_learned *learned, const struct proxy_address *destination, uint64_t now_ms)
{
    if (learned->places == NULL)
        learned->places = calloc(PROXY_LEARNED_PLACES, sizeof(*learned->places));
    if (learned->places == NULL)
        return;
    uint32_t hash = proxy_address_hash(destination);
    *place_of(learned, hash) = (struct proxy_learned_place){.until_ms = now_ms + PROXY_LEARNED_MS, .hash = hash};
}

void proxy_learned_forget(struct proxy_learned *learned, const struct proxy_address *destination)
{
    if (learned->places == NULL)
        return;
    uint32_t hash = proxy_address_hash(destination);
    struct proxy_learned_place *place = place_of(learned, hash);
    if (place->hash == hash)
        place->until_ms = 0;
}

bool proxy_learned_has(const struct proxy_learned *learned, const struct proxy_address *destination, uint64_t now_ms)
{
    if (learned->places == NULL)
        return false;
    uint32_t hash = proxy_address_hash(destination);
    const struct proxy_learned_place *place = place_of(learned, hash);
    return place->hash == hash && place->until_ms > now_ms;
}
