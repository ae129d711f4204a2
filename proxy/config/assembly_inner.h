/* The assembly's own structs: resources by name, what was made of them, and the TLS contexts. For the files
 * assembly*.c alone.
 *
 * A resource is there as long as something is known of its name, or something refers to it. What a put makes of it (a
 * build) is in force (active) or waits (warming). A build counts what it refers to: resources by `wanted`, TLS settings
 * by `users`.
 */
#ifndef PROXY_CONFIG_ASSEMBLY_INNER_H
#define PROXY_CONFIG_ASSEMBLY_INNER_H

#include "proxy/config/context.h"
#include "proxy/config/setting.h"
#include "proxy/snapshot/table.h"

struct resource;

struct tls_entry {                     /* a TLS setting in use */
    struct proxy_tls_setting *setting; /* counted; its slot's name is the key */
    struct proxy_tls_setting *staged;  /* counted: takes its place when the bootstrap is taken; NULL: none */
    unsigned users;
    struct fl_tls_context *context;            /* counted; NULL: its secrets were never there */
    struct proxy_unit *cert_from, *trust_from; /* counted: the secrets that were tried last */
    char *reason;                              /* why the last try failed; NULL: it did not */
};

struct build {
    struct proxy_unit *unit; /* counted */
    const void *value;       /* in the unit: struct proxy_listener, _cluster, _endpoints, _routes, _secret */
    struct fl_packed wire;   /* in the unit */
    char *version;
    struct resource **needs;
    size_t need_count;
    size_t missed; /* which need was missing when it was looked at last */
    struct tls_entry **uses;
    size_t use_count;
    uint64_t harmless, ignored;
    size_t size;       /* bytes that count against the limit */
    uint64_t since_ms; /* it waits; 0: no publish has seen it yet */
    bool overdue;      /* it has waited for too long, and waits for secrets alone */
    bool reads_files;
    bool is_dns; /* a cluster whose endpoints are names */
    /* A cluster in force follows its endpoints (EDS), in a list of theirs. */
    struct resource *follows;
    struct build *next_follower, *previous_follower;
};

struct resource {
    enum fl_resource_type type;
    struct fl_span name; /* behind the struct */
    unsigned wanted;
    enum proxy_want_source source;
    bool is_static, was_static; /* was: while a bootstrap is taken */
    bool absent;                /* removed by name */
    struct build *active, *warming;
    struct resource *next_warming, *previous_warming; /* in a list of the assembly's, where warming is not NULL */
    struct build *followers;                          /* endpoints: of clusters in force */
    char *refused, *refused_version;                  /* the last put since; NULL: it was taken */
};

/* What the bootstrap says beside resources. */
struct base {
    struct proxy_unit *unit; /* counted; NULL: there is none yet */
    struct proxy_node node;
    struct proxy_address admin;
    struct fl_span bootstrap, path;
    const struct proxy_watched_file *files;
    size_t file_count;
    const struct proxy_cert_info *certs;
    size_t cert_count;
    uint64_t ignored;
    bool dynamic; /* as it was compiled */
};

struct proxy_assembly {
    struct proxy_graveyard *graveyard;
    struct proxy_slots *slots;
    struct fl_map resources[FL_RESOURCE_TYPES];
    struct fl_map tls; /* struct tls_entry by the slot's name */
    struct proxy_table tables[PROXY_TABLE_KINDS];
    struct resource *warming[FL_RESOURCE_TYPES];
    struct certs *certs;        /* counted: of the last snapshot */
    bool certs_touched;         /* … and these are others */
    bool contexts_touched;      /* settings or secrets are others than when contexts were made last */
    uint64_t harmless, ignored; /* of all builds in force */
    struct base base;
    size_t bytes; /* of all builds */
    uint64_t wants_version;
    uint64_t dns_version;
    uint64_t version;            /* of the last snapshot */
    struct proxy_snapshot *last; /* counted; NULL: none yet */
    bool force;                  /* the next publish gives a snapshot */
    char *waits_for;             /* FL_ERR_TEXT_MAX bytes: of the last proxy_assembly_next_state */
};

/* assembly.c */
struct resource *assembly_find(const struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name);
/* Finds or makes it. 0, -ENOSPC, -ENOMEM. */
int assembly_intern(struct proxy_assembly *assembly, enum fl_resource_type type, struct fl_span name,
                    struct resource **ret_resource) FL_MUST_CHECK;
/* It goes where nothing is known of it and nobody wants it. */
void assembly_settle(struct proxy_assembly *assembly, struct resource *resource);

/* assembly_force.c */
/* `build` (NULL: nothing) takes the place of what is in force; what was there goes. Cannot fail. */
void assembly_put_in_force(struct proxy_assembly *assembly, struct resource *resource, struct build *build);
/* The same with what waits. */
void assembly_put_waiting(struct proxy_assembly *assembly, struct resource *resource, struct build *build);
/* What waits is in force. */
void assembly_promote(struct proxy_assembly *assembly, struct resource *resource);
/* Room in the tables for what it will lead to. 0 or -ENOMEM. */
int assembly_reserve(struct proxy_assembly *assembly, enum fl_resource_type type, const void *value) FL_MUST_CHECK;
/* The setting's slot leads to its context. */
void assembly_show_context(struct proxy_assembly *assembly, const struct tls_entry *entry);
void assembly_hide_context(struct proxy_assembly *assembly, const struct tls_entry *entry);

/* assembly_build.c */
/* What the present resource of `compile` became: takes over its unit (whatever comes); counts what it refers to. `wire`
 * is packed, `version` copied. 0 or a negative errno with the error set. */
int build_new(struct proxy_assembly *assembly, struct compile *compile, enum fl_resource_type type, const void *value,
              struct fl_span wire, struct fl_span version, struct build **ret_build) FL_MUST_CHECK;
struct build *build_free(struct proxy_assembly *assembly, struct build *build); /* NULL allowed; returns NULL */
/* A resource of any type from its message, at the present place; the unit is compile->unit. */
int build_value(struct compile *compile, enum fl_resource_type type, const ProtobufCMessage *message,
                const void **ret_value) FL_MUST_CHECK;
const ProtobufCMessageDescriptor *build_type(enum fl_resource_type type);
struct fl_span build_name(enum fl_resource_type type, const ProtobufCMessage *message);

/* assembly_tls.c */
/* Every setting whose secrets are there, or other ones now, gets its context. 0 or -ENOMEM. */
int assembly_make_contexts(struct proxy_assembly *assembly) FL_MUST_CHECK;
struct tls_entry *assembly_tls_free(struct tls_entry *entry); /* returns NULL */
/* The settings that were compiled and are in use with other files' contents take the place of those; or not. */
void assembly_tls_stage(struct proxy_assembly *assembly, const struct compile *compile);
void assembly_tls_unstage(struct proxy_assembly *assembly, bool take);

/* assembly_publish.c */
/* The certificates of a snapshot, shared by all in which they are the same. */
struct certs {
    struct proxy_unit unit; /* first; it holds the secrets' units */
    struct proxy_cert_info *list;
    size_t count;
};
/* The bootstrap's part of a snapshot; and its end. */
void assembly_base_done(struct base *base);
/* The first thing that it waits for, as text; NULL where it waits for nothing. */
const char *assembly_waits_for(const struct resource *resource, char *room, size_t size);

#endif
