/* What is in force, and what waits: every change of either goes through here, so that the tables of the next snapshot
 * and the lists of what warms are right at any time. */
#include "proxy/config/assembly_inner.h"

/* -- clusters follow their endpoints -- */

static void follow(struct resource *endpoints, struct build *cluster)
{
    cluster->follows = endpoints;
    cluster->previous_follower = NULL;
    cluster->next_follower = endpoints->followers;
    if (endpoints->followers != NULL)
        endpoints->followers->previous_follower = cluster;
    endpoints->followers = cluster;
}

static void unfollow(struct build *cluster)
{
    if (cluster->follows == NULL)
        return;
    if (cluster->previous_follower != NULL)
        cluster->previous_follower->next_follower = cluster->next_follower;
    else
        cluster->follows->followers = cluster->next_follower;
    if (cluster->next_follower != NULL)
        cluster->next_follower->previous_follower = cluster->previous_follower;
    cluster->follows = NULL;
}

static void show_endpoints(struct proxy_assembly *assembly, const struct build *cluster, const struct build *endpoints)
{
    proxy_table_set(&assembly->tables[PROXY_TABLE_ENDPOINTS],
                    ((const struct proxy_cluster *)cluster->value)->slot->index,
                    endpoints != NULL ? endpoints->value : NULL);
}

/* -- the tables -- */

static void show_cluster(struct proxy_assembly *assembly, struct build *build, bool here)
{
    const struct proxy_cluster *cluster = build->value;
    proxy_table_set(&assembly->tables[PROXY_TABLE_CLUSTERS], cluster->slot->index, here ? cluster : NULL);
    unfollow(build);
    show_endpoints(assembly, build, NULL);
    struct resource *endpoints = here && cluster->type == PROXY_CLUSTER_EDS
                                     ? assembly_find(assembly, FL_RESOURCE_ENDPOINTS, cluster->eds_name)
                                     : NULL;
    if (endpoints == NULL)
        return;
    follow(endpoints, build);
    show_endpoints(assembly, build, endpoints->active);
}

static void show(struct proxy_assembly *assembly, const struct resource *resource, struct build *build, bool here)
{
    switch (resource->type) {
    case FL_RESOURCE_CLUSTER:
        show_cluster(assembly, build, here);
        return;
    case FL_RESOURCE_ENDPOINTS:
        for (const struct build *one = resource->followers; one != NULL; one = one->next_follower)
            show_endpoints(assembly, one, here ? build : NULL);
        return;
    case FL_RESOURCE_LISTENER:
        proxy_table_set(&assembly->tables[PROXY_TABLE_LISTENERS],
                        ((const struct proxy_listener *)build->value)->slot->index, here ? build->value : NULL);
        return;
    case FL_RESOURCE_ROUTES:
        proxy_table_set(&assembly->tables[PROXY_TABLE_ROUTES], ((const struct proxy_routes *)build->value)->slot->index,
                        here ? build->value : NULL);
        return;
    case FL_RESOURCE_SECRET:
        assembly->contexts_touched = assembly->certs_touched = true;
        return;
    case FL_RESOURCE_TYPES:
        break;
    }
}

int assembly_reserve(struct proxy_assembly *assembly, enum fl_resource_type type, const void *value)
{
    uint32_t slot;
    int result = 0;
    switch (type) {
    case FL_RESOURCE_CLUSTER:
        slot = ((const struct proxy_cluster *)value)->slot->index;
        result = proxy_table_reserve(&assembly->tables[PROXY_TABLE_CLUSTERS], slot);
        return result == 0 ? proxy_table_reserve(&assembly->tables[PROXY_TABLE_ENDPOINTS], slot) : result;
    case FL_RESOURCE_LISTENER:
        slot = ((const struct proxy_listener *)value)->slot->index;
        return proxy_table_reserve(&assembly->tables[PROXY_TABLE_LISTENERS], slot);
    case FL_RESOURCE_ROUTES:
        slot = ((const struct proxy_routes *)value)->slot->index;
        return proxy_table_reserve(&assembly->tables[PROXY_TABLE_ROUTES], slot);
    case FL_RESOURCE_ENDPOINTS:
    case FL_RESOURCE_SECRET:
    case FL_RESOURCE_TYPES:
        break;
    }
    return result;
}

void assembly_show_context(struct proxy_assembly *assembly, const struct tls_entry *entry)
{
    proxy_table_set(&assembly->tables[PROXY_TABLE_TLS], entry->setting->slot->index, entry->context);
}

void assembly_hide_context(struct proxy_assembly *assembly, const struct tls_entry *entry)
{
    proxy_table_set(&assembly->tables[PROXY_TABLE_TLS], entry->setting->slot->index, NULL);
}

/* -- in force, waiting -- */

void assembly_put_in_force(struct proxy_assembly *assembly, struct resource *resource, struct build *build)
{
    struct build *before = resource->active;
    if (before != NULL) {
        show(assembly, resource, before, false);
        assembly->harmless -= before->harmless;
        assembly->ignored -= before->ignored;
    }
    resource->active = build;
    if (build != NULL) {
        show(assembly, resource, build, true);
        assembly->harmless += build->harmless;
        assembly->ignored += build->ignored;
    }
    build_free(assembly, before);
}

static void list_waiting(struct proxy_assembly *assembly, struct resource *resource)
{
    struct resource **head = &assembly->warming[resource->type];
    resource->previous_warming = NULL;
    resource->next_warming = *head;
    if (*head != NULL)
        (*head)->previous_warming = resource;
    *head = resource;
}

static void unlist_waiting(struct proxy_assembly *assembly, struct resource *resource)
{
    if (resource->previous_warming != NULL)
        resource->previous_warming->next_warming = resource->next_warming;
    else
        assembly->warming[resource->type] = resource->next_warming;
    if (resource->next_warming != NULL)
        resource->next_warming->previous_warming = resource->previous_warming;
}

/* Returns what waited before. */
static struct build *exchange_waiting(struct proxy_assembly *assembly, struct resource *resource, struct build *build)
{
    struct build *before = resource->warming;
    if (before == NULL && build != NULL)
        list_waiting(assembly, resource);
    if (before != NULL && build == NULL)
        unlist_waiting(assembly, resource);
    resource->warming = build;
    return before;
}

void assembly_put_waiting(struct proxy_assembly *assembly, struct resource *resource, struct build *build)
{
    build_free(assembly, exchange_waiting(assembly, resource, build));
}

void assembly_promote(struct proxy_assembly *assembly, struct resource *resource)
{
    assembly_put_in_force(assembly, resource, exchange_waiting(assembly, resource, NULL));
}
