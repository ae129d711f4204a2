#include "proxy/config/ads.h"

#include "common/base/siphash.h"
#include "proxy/config/ads_inner.h"

#include <errno.h>

/* --- entries ---------------------------------------------------------------------------------------------------- */

bool proxy_ads_text_set(struct ads_text *text, struct fl_span value)
{
    if (value.len > sizeof(text->data))
        return false;
    if (value.len > 0)
        memcpy(text->data, value.data, value.len);
    text->len = value.len;
    return true;
}

int proxy_ads_entry(struct ads_family *family, struct fl_span name, struct ads_entry **ret_entry)
{
    struct ads_entry *entry = fl_map_get(&family->entries, name);
    if (entry != NULL) {
        *ret_entry = entry;
        return 0;
    }
    if (name.len > PROXY_ADS_NAME_MAX)
        return -ENAMETOOLONG;
    entry = calloc(1, sizeof(*entry) + name.len + 1);
    if (entry == NULL)
        return -ENOMEM;
    memcpy(entry->text, name.data, name.len);
    entry->name = fl_span_make(entry->text, name.len);
    int result = fl_map_put(&family->entries, entry->name, entry);
    if (result < 0) {
        free(entry);
        return result;
    }
    *ret_entry = entry;
    return 0;
}

void proxy_ads_entry_settle(struct ads_family *family, struct ads_entry *entry)
{
    if (entry->wanted || entry->told || entry->held || entry->refused || entry->parted_ms != 0)
        return;
    fl_map_remove(&family->entries, entry->name);
    free(entry->version);
    free(entry);
}

void proxy_ads_entry_drop(struct proxy_ads *ads, enum fl_resource_type type, struct ads_entry *entry)
{
    ads->families[type].held -= entry->held;
    free(fl_take(entry->version));
    entry->version_len = 0;
    entry->hash = entry->expires_ms = 0;
    entry->held = entry->refused = false;
    ads->options.drop(ads->options.owner, type, entry->name);
}

bool proxy_ads_is_collected(const struct ads_family *family, struct fl_span name)
{
    size_t bar = fl_span_find(name, '|');
    char collection[PROXY_ADS_NAME_MAX];
    if (bar >= name.len || bar + 2 > sizeof(collection))
        return false;
    memcpy(collection, name.data, bar + 1);
    collection[bar + 1] = '*';
    const struct ads_entry *entry = fl_map_get(&family->entries, fl_span_make(collection, bar + 2));
    return entry != NULL && entry->wanted;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

int proxy_ads_new(const struct proxy_ads_options *options, struct proxy_ads **ret_ads)
{
    struct proxy_ads *ads = calloc(1, sizeof(*ads));
    if (ads == NULL)
        return -ENOMEM;
    ads->options = *options;
    ads->node = malloc(options->node.len + 1);
    if (ads->node == NULL) {
        free(ads);
        return -ENOMEM;
    }
    if (options->node.len > 0)
        memcpy(ads->node, options->node.data, options->node.len);
    ads->options.node = fl_span_make(ads->node, options->node.len);
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++)
        fl_map_init(&ads->families[i].entries, PROXY_ADS_NAMES_MAX);
    *ret_ads = ads;
    return 0;
}

struct proxy_ads *proxy_ads_free(struct proxy_ads *ads)
{
    if (ads == NULL)
        return NULL;
    void *value;
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++) {
        for (size_t cursor = 0; fl_map_next(&ads->families[i].entries, &cursor, NULL, &value);) {
            free(((struct ads_entry *)value)->version);
            free(value);
        }
        fl_map_done(&ads->families[i].entries);
    }
    free(ads->node);
    free(ads);
    return NULL;
}

/* --- what is wanted --------------------------------------------------------------------------------------------- */

void proxy_ads_want_all(struct proxy_ads *ads, enum fl_resource_type type)
{
    struct ads_family *family = &ads->families[type];
    family->changed = family->changed || !family->wildcard;
    family->wildcard = true;
}

int proxy_ads_want(struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name)
{
    struct ads_family *family = &ads->families[type];
    struct ads_entry *entry;
    int result = proxy_ads_entry(family, name, &entry);
    if (result < 0 || entry->wanted)
        return result;
    entry->wanted = true;
    entry->parted_ms = 0;
    family->wanted++;
    family->changed = true;
    return 0;
}

static void unwant(struct proxy_ads *ads, enum fl_resource_type type, struct ads_entry *entry, uint64_t now_ms)
{
    struct ads_family *family = &ads->families[type];
    if (entry->wanted) {
        entry->wanted = false;
        family->wanted--;
        family->changed = true;
    }
    entry->leaving = entry->told;
    if (!family->wildcard && (entry->held || entry->refused))
        proxy_ads_entry_drop(ads, type, entry);
    if (!family->wildcard && entry->told) {
        entry->parted_ms = now_ms + PROXY_ADS_PARTED_MS;
        family->timed++;
    }
    proxy_ads_entry_settle(family, entry);
}

void proxy_ads_unwant(struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name, uint64_t now_ms)
{
    struct ads_entry *entry = fl_map_get(&ads->families[type].entries, name);
    if (entry != NULL && entry->wanted)
        unwant(ads, type, entry, now_ms);
}

bool proxy_ads_wants(const struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name)
{
    const struct ads_entry *entry = fl_map_get(&ads->families[type].entries, name);
    return entry != NULL && entry->wanted;
}

void proxy_ads_mark_begin(struct proxy_ads *ads, enum fl_resource_type type)
{
    void *value;
    for (size_t cursor = 0; fl_map_next(&ads->families[type].entries, &cursor, NULL, &value);)
        ((struct ads_entry *)value)->marked = false;
}

int proxy_ads_mark(struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name)
{
    int result = proxy_ads_want(ads, type, name);
    if (result == 0)
        ((struct ads_entry *)fl_map_get(&ads->families[type].entries, name))->marked = true;
    return result;
}

void proxy_ads_mark_end(struct proxy_ads *ads, enum fl_resource_type type, uint64_t now_ms)
{
    struct ads_family *family = &ads->families[type];
    void *value;
    for (size_t cursor = 0; fl_map_next(&family->entries, &cursor, NULL, &value);) {
        struct ads_entry *entry = value;
        if (!entry->marked && (entry->wanted || ((entry->held || entry->refused) && !family->wildcard)))
            unwant(ads, type, entry, now_ms);
    }
}

int proxy_ads_hold(struct proxy_ads *ads, const struct proxy_ads_resource *resource)
{
    struct ads_family *family = &ads->families[resource->type];
    struct ads_entry *entry;
    char *version = malloc(resource->version.len + 1);
    int result = version == NULL ? -ENOMEM : proxy_ads_entry(family, resource->name, &entry);
    if (result < 0) {
        free(version);
        return result;
    }
    if (resource->version.len > 0)
        memcpy(version, resource->version.data, resource->version.len);
    free(entry->version);
    entry->version = version;
    entry->version_len = resource->version.len;
    entry->hash = fl_siphash(resource->bytes);
    family->held += !entry->held;
    entry->held = true;
    return 0;
}

void proxy_ads_start(struct proxy_ads *ads)
{
    ads->node_told = ads->foreign.due = false;
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++) {
        struct ads_family *family = &ads->families[i];
        family->began = family->changed = family->answer_due = family->refusing = false;
        family->nonce.len = 0;
        void *value;
        for (size_t cursor = 0; fl_map_next(&family->entries, &cursor, NULL, &value);) {
            struct ads_entry *entry = value;
            entry->told = entry->leaving = false;
            entry->parted_ms = 0;
            if (entry->refused && !entry->held && !entry->wanted) /* of such a one the new stream knows nothing */
                proxy_ads_entry_drop(ads, (enum fl_resource_type)i, entry);
            proxy_ads_entry_settle(family, entry);
        }
    }
}

/* --- time ------------------------------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t deadline, uint64_t other)
{
    return other != 0 && other < deadline ? other : deadline;
}

static uint64_t expire_family(struct proxy_ads *ads, enum fl_resource_type type, uint64_t now_ms)
{
    struct ads_family *family = &ads->families[type];
    uint64_t next = UINT64_MAX;
    void *value;
    if (family->timed == 0)
        return next;
    family->timed = 0;
    for (size_t cursor = 0; fl_map_next(&family->entries, &cursor, NULL, &value);) {
        struct ads_entry *entry = value;
        if (entry->parted_ms != 0 && entry->parted_ms <= now_ms)
            entry->parted_ms = 0;
        if (entry->expires_ms != 0 && entry->expires_ms <= now_ms)
            proxy_ads_entry_drop(ads, type, entry);
        next = earlier(earlier(next, entry->parted_ms), entry->expires_ms);
        family->timed += entry->parted_ms != 0 || entry->expires_ms != 0;
        proxy_ads_entry_settle(family, entry);
    }
    return next;
}

uint64_t proxy_ads_expire(struct proxy_ads *ads, uint64_t now_ms)
{
    uint64_t next = UINT64_MAX;
    ads->now_ms = now_ms;
    for (size_t i = 0; i < FL_RESOURCE_TYPES; i++)
        next = earlier(next, expire_family(ads, (enum fl_resource_type)i, now_ms));
    return next;
}

/* --- for people ------------------------------------------------------------------------------------------------- */

void proxy_ads_describe(const struct proxy_ads *ads, enum fl_resource_type type, struct proxy_ads_info *ret_info)
{
    const struct ads_family *family = &ads->families[type];
    *ret_info = (struct proxy_ads_info){
        .wildcard = family->wildcard,
        .wanted = family->wanted,
        .held = family->held,
        .version = proxy_ads_text(&family->version),
        .responses = family->responses,
        .accepted = family->accepted,
        .nacks = family->nacks,
        .nack = fl_span_str(family->detail),
        .nack_ms = family->nack_ms,
    };
}

struct fl_span proxy_ads_version(const struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name)
{
    const struct ads_entry *entry = fl_map_get(&ads->families[type].entries, name);
    return entry != NULL && entry->held ? fl_span_make(entry->version, entry->version_len) : (struct fl_span){NULL, 0};
}

bool proxy_ads_is_passing(const struct proxy_ads *ads, enum fl_resource_type type, struct fl_span name)
{
    const struct ads_entry *entry = fl_map_get(&ads->families[type].entries, name);
    return entry != NULL && entry->expires_ms != 0;
}

bool proxy_ads_each(const struct proxy_ads *ads, enum fl_resource_type type, size_t *cursor, struct fl_span *ret_name,
                    struct fl_span *ret_version)
{
    void *value;
    while (fl_map_next(&ads->families[type].entries, cursor, NULL, &value)) {
        const struct ads_entry *entry = value;
        if (!entry->held)
            continue;
        if (ret_name != NULL)
            *ret_name = entry->name;
        if (ret_version != NULL)
            *ret_version = fl_span_make(entry->version, entry->version_len);
        return true;
    }
    return false;
}

uint64_t proxy_ads_foreign(const struct proxy_ads *ads)
{
    return ads->foreign.count;
}
