#include "tests/unit/control/api_world.h"

#include "common/http/listener.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

/* -- connections --------------------------------------------------------------------------------------------------- */

static void free_stream(struct fl_deferred *deferred)
{
    FL_CONTAINER_OF(deferred, struct api_stream, deferred)->world = NULL;
}

static void drop(struct api_stream *stream)
{
    int fd = stream->source.fd;
    stream->dropped = true;
    fl_source_remove(&stream->source);
    close(fd);
    fl_loop_defer(stream->world->loop, &stream->deferred, free_stream);
}

static bool is_open(const struct api_stream *stream)
{
    return stream->world != NULL && !stream->dropped;
}

static void say(const struct api_stream *stream, const char *bytes, size_t len)
{
    (void)!send(stream->source.fd, bytes, len, MSG_NOSIGNAL);
}

/* False: the stream is over. */
static bool say_line(struct api_stream *stream, const char *line)
{
    struct api_world *world = stream->world;
    size_t len = strlen(line);
    if (len < world->cut_after) {
        world->cut_after -= world->cut_after == SIZE_MAX ? 0 : len;
        say(stream, line, len);
        return true;
    }
    say(stream, line, world->cut_after);
    world->cut_after = SIZE_MAX;
    drop(stream);
    return false;
}

static void answer(struct api_stream *stream, unsigned status, const char *body)
{
    char head[256];
    snprintf(head, sizeof(head),
             "HTTP/1.1 %u Word\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
             status, strlen(body));
    say(stream, head, strlen(head));
    say(stream, body, strlen(body));
    drop(stream);
}

/* -- requests ------------------------------------------------------------------------------------------------------ */

static struct api_collection *find(struct api_world *world, const char *path, size_t len)
{
    for (size_t i = 0; i < world->count; i++)
        if (strlen(world->collections[i].path) == len && strncmp(world->collections[i].path, path, len) == 0)
            return &world->collections[i];
    return NULL;
}

static void list(struct api_stream *stream, struct api_collection *collection)
{
    char *body = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&body, &len);
    assert_non_null(out);
    fprintf(out, "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"%llu\"},\"items\":[",
            (unsigned long long)stream->world->version);
    for (size_t i = 0; i < collection->count; i++)
        fprintf(out, "%s%s", i > 0 ? "," : "", collection->objects[i].text);
    fprintf(out, "]}");
    fclose(out);
    collection->lists++;
    answer(stream, 200, body);
    free(body);
}

static void watch(struct api_stream *stream, struct api_collection *collection, uint64_t from)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    static const char old[] =
        "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}}\n";
    collection->watches++;
    stream->watched = collection;
    say(stream, head, strlen(head));
    if (from < collection->oldest) {
        say(stream, old, strlen(old));
        drop(stream);
        return;
    }
    for (size_t i = 0; i < collection->event_count; i++)
        if (collection->events[i].version > from && !say_line(stream, collection->events[i].text))
            return;
}

/* /api/v1/namespaces/NS/secrets/NAME */
static bool fetch(struct api_stream *stream, const char *path, size_t len)
{
    struct api_world *world = stream->world;
    struct api_collection *secrets = find(world, "/api/v1/secrets", strlen("/api/v1/secrets"));
    char name_space[256], name[256], key[520], whole[600];
    snprintf(whole, sizeof(whole), "%.*s", (int)len, path);
    if (secrets == NULL || sscanf(whole, "/api/v1/namespaces/%255[^/]/secrets/%255[^/]", name_space, name) != 2)
        return false;
    world->fetches++;
    snprintf(key, sizeof(key), "%s/%s", name_space, name);
    if (world->forbidden_fetches != 0) {
        answer(stream, world->forbidden_fetches, "{\"kind\":\"Status\",\"message\":\"secrets is forbidden\"}");
        return true;
    }
    for (size_t i = 0; i < secrets->count; i++) {
        if (strcmp(secrets->objects[i].key, key) != 0)
            continue;
        answer(stream, 200, secrets->objects[i].text);
        return true;
    }
    answer(stream, 404, "{\"kind\":\"Status\",\"message\":\"not found\"}");
    return true;
}

static void serve(struct api_stream *stream)
{
    struct api_world *world = stream->world;
    const char *path = stream->request + strlen("GET "), *from = strstr(path, "&resourceVersion=");
    size_t len = strcspn(path, "? ");
    struct api_collection *collection = find(world, path, len);
    if (fetch(stream, path, len))
        return;
    if (collection == NULL)
        answer(stream, 404, "{\"kind\":\"Status\",\"message\":\"the server could not find the requested resource\"}");
    else if (collection->status != 200)
        answer(stream, collection->status, "{\"kind\":\"Status\",\"message\":\"as the test wants it\"}");
    else if (strstr(path, "watch=1") == NULL)
        list(stream, collection);
    else
        watch(stream, collection, from != NULL ? strtoull(from + strlen("&resourceVersion="), NULL, 10) : 0);
}

static void on_readable(struct fl_source *source, uint32_t events)
{
    struct api_stream *stream = FL_CONTAINER_OF(source, struct api_stream, source);
    (void)events;
    ssize_t count = recv(source->fd, stream->request + stream->len, sizeof(stream->request) - 1 - stream->len, 0);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0 || stream->watched != NULL) {
        drop(stream);
        return;
    }
    stream->len += (size_t)count;
    stream->request[stream->len] = '\0';
    if (strstr(stream->request, "\r\n\r\n") == NULL)
        return;
    stream->request[strcspn(stream->request, "\r")] = '\0';
    serve(stream);
}

static void on_accept(struct fl_source *source, uint32_t events)
{
    struct api_world *world = FL_CONTAINER_OF(source, struct api_world, source);
    (void)events;
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    size_t at = 0;
    if (fd < 0)
        return;
    while (at < API_STREAMS && world->streams[at].world != NULL)
        at++;
    if (world->away || at == API_STREAMS) {
        close(fd);
        return;
    }
    struct api_stream *stream = &world->streams[at];
    *stream = (struct api_stream){.world = world};
    assert_int_equal(fl_source_add(world->loop, &stream->source, fd, EPOLLIN, on_readable), 0);
}

/* -- what is there ------------------------------------------------------------------------------------------------- */

struct api_collection *api_collection(struct api_world *world, const char *path)
{
    struct api_collection *collection = find(world, path, strlen(path));
    if (collection != NULL)
        return collection;
    assert_true(world->count < API_COLLECTIONS);
    collection = &world->collections[world->count++];
    *collection = (struct api_collection){.path = path, .status = 200};
    return collection;
}

void api_know_all(struct api_world *world)
{
    static const char *const core[] = {"/api/v1/namespaces", "/api/v1/services", "/api/v1/pods",
                                       "/apis/discovery.k8s.io/v1/endpointslices"};
    for (size_t i = 0; i < FL_COUNT(core); i++)
        api_collection(world, core[i]);
}

/* By libc itself, so that no allocation of it is one that a test makes fail. */
static char *copy(const char *text)
{
    char *made = NULL;
    assert_true(asprintf(&made, "%s", text) >= 0);
    return made;
}

static void record(struct api_world *world, struct api_collection *collection, const char *type, const char *object)
{
    FL_CLEANUP(fl_cleanup_free) char *line = NULL;
    assert_true(asprintf(&line, "{\"type\":\"%s\",\"object\":%s}\n", type, object) > 0);
    assert_true(collection->event_count < API_EVENTS);
    collection->events[collection->event_count++] = (struct api_event){world->version, copy(line)};
    for (size_t i = 0; i < API_STREAMS; i++)
        if (is_open(&world->streams[i]) && world->streams[i].watched == collection)
            say_line(&world->streams[i], line);
}

static struct api_object *find_object(struct api_collection *collection, const char *key)
{
    for (size_t i = 0; i < collection->count; i++)
        if (strcmp(collection->objects[i].key, key) == 0)
            return &collection->objects[i];
    return NULL;
}

static char *print_object(uint64_t version, const char *key, const char *rest, const char *metadata)
{
    char *made = NULL;
    const char *slash = strchr(key, '/');
    assert_non_null(slash);
    assert_true(asprintf(&made, "{\"metadata\":{\"name\":\"%s\"%s%.*s%s,\"resourceVersion\":\"%llu\"%s}%s%s}",
                         slash + 1, slash > key ? ",\"namespace\":\"" : "", (int)(slash - key), key,
                         slash > key ? "\"" : "", (unsigned long long)version, metadata != NULL ? metadata : "",
                         rest != NULL ? "," : "", rest != NULL ? rest : "") > 0);
    return made;
}

void api_put(struct api_world *world, const char *path, const char *key, const char *rest, const char *metadata)
{
    struct api_collection *collection = api_collection(world, path);
    struct api_object *object = find_object(collection, key);
    bool added = object == NULL;
    FL_CLEANUP(fl_cleanup_free) char *text = print_object(++world->version, key, rest, metadata);
    if (added) {
        assert_true(collection->count < API_OBJECTS);
        object = &collection->objects[collection->count++];
        object->key = copy(key);
    } else {
        free(object->text);
    }
    object->text = copy(text);
    object->version = world->version;
    record(world, collection, added ? "ADDED" : "MODIFIED", text);
}

void api_delete(struct api_world *world, const char *path, const char *key)
{
    struct api_collection *collection = api_collection(world, path);
    struct api_object *object = find_object(collection, key);
    assert_non_null(object);
    FL_CLEANUP(fl_cleanup_free) char *text = print_object(++world->version, key, NULL, NULL);
    free(object->text);
    free(object->key);
    *object = collection->objects[--collection->count];
    record(world, collection, "DELETED", text);
}

void api_cut(struct api_world *world)
{
    for (size_t i = 0; i < API_STREAMS; i++)
        if (is_open(&world->streams[i]))
            drop(&world->streams[i]);
}

void api_forget(struct api_world *world)
{
    world->version++;
    for (size_t i = 0; i < world->count; i++) {
        struct api_collection *collection = &world->collections[i];
        for (size_t k = 0; k < collection->event_count; k++)
            free(collection->events[k].text);
        collection->event_count = 0;
        collection->oldest = world->version;
    }
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

void api_init(struct api_world *world, struct fl_loop *loop)
{
    struct fl_kube_access access = {0};
    struct fl_err err = {0};
    char url[64];
    int fd = -1;
    *world = (struct api_world){.loop = loop, .cut_after = SIZE_MAX, .version = 1};
    assert_int_equal(fl_http_listen(FL_SPAN("127.0.0.1:0"), &fd, &world->port, NULL), 0);
    assert_int_equal(fl_source_add(loop, &world->source, fd, EPOLLIN, on_accept), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", (unsigned)world->port);
    access.server = strdup(url);
    assert_int_equal(fl_kube_client_new(loop, &access, NULL, &world->client, &err), 0);
}

void api_done(struct api_world *world)
{
    int fd = world->source.fd;
    world->client = fl_kube_client_free(world->client);
    api_cut(world);
    fl_source_remove(&world->source);
    close(fd);
    for (size_t i = 0; i < world->count; i++) {
        struct api_collection *collection = &world->collections[i];
        for (size_t k = 0; k < collection->count; k++) {
            free(collection->objects[k].key);
            free(collection->objects[k].text);
        }
        for (size_t k = 0; k < collection->event_count; k++)
            free(collection->events[k].text);
    }
}
