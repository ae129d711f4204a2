/* What a process close to its memory ceiling lets go of, stage by stage: the words that all layers share. Who decides
 * stands in server/ceiling.h, what each stage does in the layer that does it.
 *
 *   none          nothing
 *   stop_reading  connections hold next to nothing: PROXY_SHED_HIGH instead of their watermark, PROXY_SHED_READ a read,
 *                 small chunks; so what is backlogged is not read on, and nobody is cut
 *   close_idle    and HTTP connections without a request are asked to leave, idle upstream connections are closed
 *   refuse        and new connections are reset, new requests are answered 503 (flag OM)
 */
#ifndef PROXY_NET_SHED_H
#define PROXY_NET_SHED_H

#define PROXY_SHED_HIGH 4096u /* bytes of output at which a connection is backlogged */
#define PROXY_SHED_READ 4096u

/* X(id, word): in order */
#define PROXY_SHED_STAGES(X)                                                                                           \
    X(NONE, "none")                                                                                                    \
    X(STOP_READING, "stop_reading")                                                                                    \
    X(CLOSE_IDLE, "close_idle")                                                                                        \
    X(REFUSE, "refuse")

enum proxy_shed {
#define X(id, word) PROXY_SHED_##id,
    PROXY_SHED_STAGES(X)
#undef X
        PROXY_SHED_STAGE_COUNT
};

static inline const char *proxy_shed_word(enum proxy_shed stage)
{
    static const char *const words[] = {
#define X(id, word) word,
        PROXY_SHED_STAGES(X)
#undef X
    };
    return words[stage];
}

#endif
