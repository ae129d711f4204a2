/* The authenticator of directory mode: tokens that a key of a folder has signed. It answers at once. */
#include "control/ca/token.h"

#include "common/base/file.h"

#include <errno.h>
#include <sys/stat.h>

#define OTHERS_WRITE 0022

struct tokens {
    struct control_authenticator authenticator;
    char *path, *audience;
    struct fl_key *key; /* NULL: not read yet */
    struct stat seen;   /* of the file that it was read from */
};

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int read_key(const char *path, struct fl_key **ret_key)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf der;
    fl_buf_init(&der, FL_KEY_PUBLIC_MAX);
    int result = fl_buf_read_file(&der, path);
    return result < 0 ? result : fl_key_parse_public(fl_buf_span(&der), ret_key, NULL);
}

/* A look at the file for each token: a rotated key counts at once. What cannot be read, or what others could have
 * written, leaves the key that there is. */
static void refresh(struct tokens *tokens)
{
    struct stat status;
    struct fl_key *key;
    if (stat(tokens->path, &status) != 0 || !S_ISREG(status.st_mode) || (status.st_mode & OTHERS_WRITE) != 0 ||
        (tokens->key != NULL && is_same(&status, &tokens->seen)) || read_key(tokens->path, &key) < 0)
        return;
    fl_key_unref(tokens->key);
    tokens->key = key;
    tokens->seen = status;
}

static void begin(struct control_authenticator *authenticator, struct control_authentication *authentication,
                  struct fl_span token)
{
    struct tokens *tokens = FL_CONTAINER_OF(authenticator, struct tokens, authenticator);
    struct control_caller caller = {0};
    enum control_auth_outcome outcome = CONTROL_AUTH_UNAVAILABLE;
    refresh(tokens);
    if (tokens->key != NULL)
        outcome = control_token_check(tokens->key, token, tokens->audience, time(NULL), &caller);
    authentication->on_done(authentication, outcome, &caller);
}

static void free_tokens(struct control_authenticator *authenticator)
{
    struct tokens *tokens = FL_CONTAINER_OF(authenticator, struct tokens, authenticator);
    fl_key_unref(tokens->key);
    free(tokens->path);
    free(tokens->audience);
    free(tokens);
}

int control_tokens_new(const char *public_key_path, const char *audience,
                       struct control_authenticator **ret_authenticator)
{
    struct tokens *tokens = calloc(1, sizeof(*tokens));
    if (tokens == NULL)
        return -ENOMEM;
    tokens->authenticator = (struct control_authenticator){.begin = begin, .free = free_tokens};
    tokens->path = strdup(public_key_path);
    tokens->audience = strdup(audience);
    if (tokens->path == NULL || tokens->audience == NULL) {
        free_tokens(&tokens->authenticator);
        return -ENOMEM;
    }
    *ret_authenticator = &tokens->authenticator;
    return 0;
}
