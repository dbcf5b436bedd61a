/* stamp.h: when a packet came or left, by the best clock that is believed. */
#pragma once
#include "api/cmsg.h"
#include "kernel/device_clock.h"

struct tw_stamp {
    uint64_t ns;       /* Unix */
    uint64_t error_ns; /* how far the model of a device's clock may be off; 0 for other sources */
    uint32_t source;   /* enum tw_source */
};

enum tw_passage { TW_PASSAGE_ARRIVAL, TW_PASSAGE_DEPARTURE };

/* Replaces *stamp by the best stamp of a packet that is believed; returns how many were refused.
 * *stamp comes as what is known without them: of an arrival the clock as read after it, which is
 * now_ns; of a departure the clock as read before it, or an earlier stamp, and now_ns is when raw
 * was read.  A stamp is believed when its source is better and it is near enough to that.  models
 * may be NULL where no device stamps. */
uint32_t tw_stamp_choose(struct tw_stamp *stamp, const struct tw_raw_stamps *raw,
                         const struct tw_clock_models *models, uint64_t now_ns,
                         enum tw_passage passage);
