"""What notices writes in the trail."""

ACTIONS = {
    "notices.webhook.added": "An address is told of events from now on",
    "notices.webhook.changed": "What a webhook is told of was changed",
    "notices.webhook.key_rotated": "A webhook's signing key was replaced",
    "notices.webhook.ended": "A webhook is told nothing any more",
    "notices.delivery.asked_again": "A delivery was asked for again by hand",
    "notices.mail.chosen": "A person chose whether notices come by email",
}
