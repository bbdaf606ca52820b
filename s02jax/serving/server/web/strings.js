// Texts of the page, in English and Chinese.

const TEXTS = {
  en: {
    say: "Speak", text: "Text", speak: "Speak", stop: "Stop",
    pause: "Insert a pause of", pauseSeconds: "seconds of the pause",
    language: "Language", detect: "detect", voices: "Voices",
    noVoices: "There is no voice yet: clone one below.",
    sound: "Sound", speed: "Speed", pitch: "Pitch", volume: "Volume",
    temperature: "Liveliness", seed: "Seed", clone: "Clone a voice",
    cloneHint: "A few seconds of one person who speaks, who has agreed to it.",
    drop: "Drop a recording here, or choose a file", record: "Record",
    recording: "End the recording", name: "Name of the voice",
    transcript: "Words of the recording (if you know them)", keep: "Clone",
    replace: "replace a voice of this name", history: "History",
    noHistory: "What was spoken stays here until the page is closed.",
    key: "API key", keyHint: "only if the server asks for one",
    api: "API", figures: "Figures", remove: "Remove", weight: "share of",
    download: "Download", play: "Play", again: "Words in time",
    ready: "ready", compiling: "compiling programs; the first sound takes long",
    away: "the server does not answer", cloning: "cloning …",
    cloned: "kept as", removeAsk: "Remove this voice for good?",
    first: "first sound after", whole: "of sound in", choose: "Choose a voice.",
    noFile: "Choose or record a recording first.",
    emotion: "Emotion", strength: "its strength", neutral: "neutral",
    design: "Design a voice", description: "Description of the voice",
    noDesign: "These models have no voice prior: s02 voice prior trains one.",
    gender: "Gender", any: "any", female: "female", male: "male",
    imagine: "Design", others: "Other candidates", candidate: "Candidate",
    designing: "designing …", keepDesign: "Keep the chosen one",
    keeping: "keeping …", nameIt: "Choose a candidate and name it.",
    wave: "waveform", spectrum: "spectrogram", noMicrophone:
      "The microphone cannot be used.",
  },
  zh: {
    say: "朗读", text: "文本", speak: "朗读", stop: "停止",
    pause: "插入停顿", pauseSeconds: "停顿秒数",
    language: "语言", detect: "自动识别", voices: "音色",
    noVoices: "还没有音色：请在下方克隆一个。",
    sound: "声音", speed: "语速", pitch: "音高", volume: "音量",
    temperature: "变化", seed: "随机种子", clone: "克隆音色",
    cloneHint: "一个人几秒钟的讲话录音，并已征得其同意。",
    drop: "把录音拖到这里，或选择文件", record: "录音",
    recording: "结束录音", name: "音色名称",
    transcript: "录音的文字（如果知道）", keep: "克隆",
    replace: "替换同名音色", history: "历史",
    noHistory: "朗读过的内容会保留到页面关闭。",
    key: "API 密钥", keyHint: "仅在服务器要求时填写",
    api: "API", figures: "指标", remove: "删除", weight: "比例：",
    download: "下载", play: "播放", again: "逐词显示",
    ready: "就绪", compiling: "正在编译，首次发声较慢",
    away: "服务器没有响应", cloning: "正在克隆……",
    cloned: "已保存为", removeAsk: "永久删除这个音色吗？",
    first: "首音延迟", whole: "的声音用时", choose: "请选择音色。",
    noFile: "请先选择或录制一段录音。",
    emotion: "情感", strength: "强度", neutral: "中性",
    design: "设计音色", description: "音色描述",
    noDesign: "此模型不支持音色设计：可用 s02 voice prior 训练。",
    gender: "性别", any: "不限", female: "女声", male: "男声",
    imagine: "设计", others: "换一批", candidate: "候选",
    designing: "正在设计……", keepDesign: "保存所选音色",
    keeping: "正在保存……", nameIt: "请选择候选并命名。",
    wave: "波形", spectrum: "频谱图", noMicrophone: "无法使用麦克风。",
  },
};

let tongue = navigator.language.startsWith("zh") ? "zh" : "en";

export const t = (name) => TEXTS[tongue][name];

export function translate() {
  document.documentElement.lang = tongue;
  for (const one of document.querySelectorAll("[data-text]")) {
    one.textContent = t(one.dataset.text);
  }
  for (const one of document.querySelectorAll("[data-label]")) {
    one.setAttribute("aria-label", t(one.dataset.label));
  }
  const other = document.getElementById("tongue");
  other.textContent = tongue === "en" ? "中文" : "English";
  other.lang = tongue === "en" ? "zh" : "en";
}

export function switchTongue() {
  tongue = tongue === "en" ? "zh" : "en";
  translate();
}
