#include "proxy/snapshot/table.h"

#include "common/tls/context.h"

#include <errno.h>
#include <stdlib.h>

struct proxy_page {
    unsigned references; /* atomic: snapshots go on any thread once the keeper of the graveyard has gone */
    enum proxy_table_kind kind;
    const void *values[PROXY_PAGE_SLOTS]; /* counted */
};

/* What one snapshot shares. */
struct share {
    size_t count;
    struct proxy_page *pages[];
};

void proxy_table_init(struct proxy_table *table, enum proxy_table_kind kind)
{
    *table = (struct proxy_table){.kind = kind};
}

/* -- pages -- */

static struct proxy_unit *unit_of(enum proxy_table_kind kind, const void *value)
{
    switch (kind) {
    case PROXY_TABLE_LISTENERS:
        return ((const struct proxy_listener *)value)->unit;
    case PROXY_TABLE_CLUSTERS:
        return ((const struct proxy_cluster *)value)->unit;
    case PROXY_TABLE_ENDPOINTS:
        return ((const struct proxy_endpoints *)value)->unit;
    case PROXY_TABLE_ROUTES:
        return ((const struct proxy_routes *)value)->unit;
    case PROXY_TABLE_TLS:
    case PROXY_TABLE_KINDS:
        break;
    }
    return NULL;
}

static void value_ref(enum proxy_table_kind kind, const void *value)
{
    if (value == NULL)
        return;
    if (kind == PROXY_TABLE_TLS)
        fl_tls_context_ref((struct fl_tls_context *)(uintptr_t)value);
    else
        proxy_unit_ref(unit_of(kind, value));
}

static void value_unref(enum proxy_table_kind kind, const void *value)
{
    if (value == NULL)
        return;
    if (kind == PROXY_TABLE_TLS)
        fl_tls_context_unref((struct fl_tls_context *)(uintptr_t)value);
    else
        proxy_unit_unref(unit_of(kind, value));
}

static struct proxy_page *page_new(enum proxy_table_kind kind, const void *const *values)
{
    struct proxy_page *page = malloc(sizeof(*page));
    if (page == NULL)
        return NULL;
    page->references = 1;
    page->kind = kind;
    for (size_t i = 0; i < PROXY_PAGE_SLOTS; i++) {
        page->values[i] = values[i];
        value_ref(kind, values[i]);
    }
    return page;
}

static struct proxy_page *page_ref(struct proxy_page *page)
{
    if (page != NULL)
        __atomic_fetch_add(&page->references, 1, __ATOMIC_RELAXED);
    return page;
}

static void page_unref(struct proxy_page *page)
{
    if (page == NULL || __atomic_sub_fetch(&page->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < PROXY_PAGE_SLOTS; i++)
        value_unref(page->kind, page->values[i]);
    free(page);
}

/* -- now -- */

void proxy_table_done(struct proxy_table *table)
{
    for (size_t i = 0; i < table->size / PROXY_PAGE_SLOTS; i++)
        page_unref(table->pages[i].frozen);
    free(table->values);
    free(table->pages);
    proxy_table_init(table, table->kind);
}

int proxy_table_reserve(struct proxy_table *table, uint32_t index)
{
    if (index < table->size)
        return 0;
    size_t size = (index / PROXY_PAGE_SLOTS + 1) * PROXY_PAGE_SLOTS;
    const void **values = realloc(table->values, size * sizeof(*values));
    if (values == NULL)
        return -ENOMEM;
    table->values = values;
    struct proxy_table_page *pages = realloc(table->pages, size / PROXY_PAGE_SLOTS * sizeof(*pages));
    if (pages == NULL)
        return -ENOMEM;
    table->pages = pages;
    memset(values + table->size, 0, (size - table->size) * sizeof(*values));
    for (size_t i = table->size / PROXY_PAGE_SLOTS; i < size / PROXY_PAGE_SLOTS; i++)
        pages[i] = (struct proxy_table_page){NULL, false};
    table->size = size;
    return 0;
}

void proxy_table_set(struct proxy_table *table, uint32_t index, const void *value)
{
    if (index >= table->size || table->values[index] == value)
        return;
    table->count += (size_t)(value != NULL) - (size_t)(table->values[index] != NULL);
    table->values[index] = value;
    table->pages[index / PROXY_PAGE_SLOTS].touched = true;
    table->touched = true;
}

static bool is_same(const struct proxy_page *page, const void *const *values)
{
    static const void *const nothing[PROXY_PAGE_SLOTS];
    return memcmp(page != NULL ? page->values : nothing, values, sizeof(nothing)) == 0;
}

bool proxy_table_changed(struct proxy_table *table)
{
    bool any = false;
    for (size_t i = 0; table->touched && i < table->size / PROXY_PAGE_SLOTS; i++) {
        struct proxy_table_page *page = &table->pages[i];
        if (page->touched && is_same(page->frozen, table->values + i * PROXY_PAGE_SLOTS))
            page->touched = false;
        any |= page->touched;
    }
    table->touched = any;
    return any;
}

/* -- the next snapshot's -- */

static int renew(struct proxy_table *table)
{
    if (!proxy_table_changed(table))
        return 0;
    for (size_t i = 0; i < table->size / PROXY_PAGE_SLOTS; i++) {
        struct proxy_table_page *page = &table->pages[i];
        if (!page->touched)
            continue;
        struct proxy_page *next = page_new(table->kind, table->values + i * PROXY_PAGE_SLOTS);
        if (next == NULL)
            return -ENOMEM;
        page_unref(page->frozen);
        *page = (struct proxy_table_page){next, false};
    }
    table->touched = false;
    return 0;
}

static void release(void *object)
{
    struct share *share = object;
    for (size_t i = 0; i < share->count; i++)
        page_unref(share->pages[i]);
}

static int hold(const struct proxy_table *table, struct proxy_unit *unit)
{
    size_t count = table->size / PROXY_PAGE_SLOTS;
    struct share *share = fl_arena_alloc(&unit->arena, sizeof(*share) + count * sizeof(*share->pages));
    if (share == NULL)
        return -ENOMEM;
    share->count = count;
    for (size_t i = 0; i < count; i++)
        share->pages[i] = page_ref(table->pages[i].frozen);
    return proxy_unit_hold(unit, share, release);
}

int proxy_table_freeze(struct proxy_table *table, struct proxy_unit *unit, const void *const **ret_values,
                       size_t *ret_size)
{
    int result = renew(table);
    const void **values = result == 0 ? fl_arena_array(&unit->arena, table->size, sizeof(*values)) : NULL;
    if (values == NULL)
        return -ENOMEM;
    if (table->size > 0)
        memcpy(values, table->values, table->size * sizeof(*values));
    result = hold(table, unit);
    if (result < 0)
        return result;
    *ret_values = values;
    *ret_size = table->size;
    return 0;
}
