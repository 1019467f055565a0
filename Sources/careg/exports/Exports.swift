// Nothing but a target of its own for what libcareg.so lets its users see: the settings of a linker go to every product
// that a target is part of, and the plugin for Mosquitto, of which libcareg's code is a part, shows other names.
