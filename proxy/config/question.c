#include "proxy/config/question.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

#define LOOK_BACK 16 /* questions at the end that a new one is compared with: a storm asks for few things often */
#define TURN_MAX  256

struct proxy_questions {
    void (*on_question)(void *owner, const struct proxy_address *destination);
    void *owner;
    int wake_fd;
    struct fl_source wake;
    pthread_mutex_t lock;
    size_t first, count;
    struct proxy_address *ring; /* PROXY_DIRECTORY_QUEUE_MAX; taken with the first question */
};

static bool take(struct proxy_questions *questions, struct proxy_address *ret_destination)
{
    pthread_mutex_lock(&questions->lock);
    bool any = questions->count > 0;
    if (any) {
        *ret_destination = questions->ring[questions->first];
        questions->first = (questions->first + 1) % PROXY_DIRECTORY_QUEUE_MAX;
        questions->count--;
    }
    pthread_mutex_unlock(&questions->lock);
    return any;
}

static void wake(struct proxy_questions *questions)
{
    const uint64_t one = 1;
    (void)!write(questions->wake_fd, &one, sizeof(one));
}

static void on_wake(struct fl_source *source, uint32_t events)
{
    struct proxy_questions *questions = FL_CONTAINER_OF(source, struct proxy_questions, wake);
    struct proxy_address destination;
    uint64_t count;
    (void)events;
    (void)!read(questions->wake_fd, &count, sizeof(count));
    for (unsigned i = 0; take(questions, &destination); i++) {
        questions->on_question(questions->owner, &destination);
        if (i + 1 == TURN_MAX) { /* the rest in the next turn */
            wake(questions);
            return;
        }
    }
}

bool proxy_questions_ask(struct proxy_questions *questions, const struct proxy_address *destination)
{
    bool there = false;
    pthread_mutex_lock(&questions->lock);
    if (questions->ring == NULL)
        questions->ring = malloc(PROXY_DIRECTORY_QUEUE_MAX * sizeof(*questions->ring));
    for (size_t i = 0; i < LOOK_BACK && i < questions->count && !there; i++)
        there = proxy_address_eq(
            &questions->ring[(questions->first + questions->count - 1 - i) % PROXY_DIRECTORY_QUEUE_MAX], destination);
    bool room = there || (questions->ring != NULL && questions->count < PROXY_DIRECTORY_QUEUE_MAX);
    if (room && !there)
        questions->ring[(questions->first + questions->count++) % PROXY_DIRECTORY_QUEUE_MAX] = *destination;
    pthread_mutex_unlock(&questions->lock);
    if (room && !there)
        wake(questions);
    return room;
}

int proxy_questions_new(struct fl_loop *loop, void (*on_question)(void *owner, const struct proxy_address *destination),
                        void *owner, struct proxy_questions **ret_questions)
{
    struct proxy_questions *questions = calloc(1, sizeof(*questions));
    if (questions == NULL)
        return -ENOMEM;
    questions->on_question = on_question;
    questions->owner = owner;
    pthread_mutex_init(&questions->lock, NULL);
    questions->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int result =
        questions->wake_fd < 0 ? -errno : fl_source_add(loop, &questions->wake, questions->wake_fd, EPOLLIN, on_wake);
    if (result < 0) {
        proxy_questions_free(questions);
        return result;
    }
    *ret_questions = questions;
    return 0;
}

struct proxy_questions *proxy_questions_free(struct proxy_questions *questions)
{
    if (questions == NULL)
        return NULL;
    fl_source_remove(&questions->wake);
    if (questions->wake_fd >= 0)
        close(questions->wake_fd);
    pthread_mutex_destroy(&questions->lock);
    free(questions->ring);
    free(questions);
    return NULL;
}
