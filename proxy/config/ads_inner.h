/* What the files of proxy/config/ads share. Private to them. */
#ifndef PROXY_CONFIG_ADS_INNER_H
#define PROXY_CONFIG_ADS_INNER_H

#include "common/base/map.h"
#include "proxy/config/ads.h"

struct ads_entry { /* a resource by name; goes when nothing is left to remember */
    struct fl_span name;
    char *version; /* owned; NULL: nothing is held */
    size_t version_len;
    uint64_t hash;       /* of the bytes held */
    uint64_t expires_ms; /* TTL; 0: none */
    uint64_t parted_ms;  /* given up: passed over until then; 0: not */
    bool wanted, told, held;
    bool refused; /* the last one that came was: the owner may remember that */
    bool leaving; /* told, and to be taken back before it may be told again */
    bool marked;  /* for the walk at hand */
    char text[];
};

struct ads_text { /* bounded, kept in place */
    size_t len;
    char data[PROXY_ADS_VERSION_MAX];
};

struct ads_family { /* a type */
    struct fl_map entries;
    size_t wanted; /* entries */
    size_t held;
    size_t timed;             /* at most so many have a TTL or were given up */
    bool wildcard;            /* wanted as a whole */
    bool began;               /* a request of this stream went out */
    bool changed;             /* what is wanted is not what was told */
    bool answer_due;          /* to the response with `nonce` */
    bool refusing;            /* … it is a NACK */
    unsigned streak;          /* NACKs in a row */
    uint64_t answer_after_ms; /* a NACK goes out then */
    struct ads_text nonce, version;
    char detail[PROXY_ADS_DETAIL_MAX]; /* of the last NACK */
    uint64_t responses, accepted, nacks, nack_ms;
};

struct proxy_ads {
    struct proxy_ads_options options;
    char *node; /* owned: options.node */
    bool node_told;
    uint64_t now_ms; /* as it was told last */
    struct ads_family families[FL_RESOURCE_TYPES];
    struct { /* a response of a type that nobody asked for */
        bool due;
        struct ads_text type_url, nonce;
        uint64_t count;
    } foreign;
};

/* False where it is too long. */
bool proxy_ads_text_set(struct ads_text *text, struct fl_span value);
static inline struct fl_span proxy_ads_text(const struct ads_text *text)
{
    return fl_span_make(text->data, text->len);
}

/* The entry of that name, made where there is none. 0, -ENOMEM, -ENOSPC, -ENAMETOOLONG. */
int proxy_ads_entry(struct ads_family *family, struct fl_span name, struct ads_entry **ret_entry) FL_MUST_CHECK;
/* Frees it where nothing is left to remember. */
void proxy_ads_entry_settle(struct ads_family *family, struct ads_entry *entry);
/* What was held, or refused, is gone, and the owner is told. */
void proxy_ads_entry_drop(struct proxy_ads *ads, enum fl_resource_type type, struct ads_entry *entry);
/* "outbound|*" is a name that brings others: those that begin as it does. */
bool proxy_ads_is_collected(const struct ads_family *family, struct fl_span name);

#endif
