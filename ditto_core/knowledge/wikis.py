"""Wikis: words of Wikipedias in many languages that text from them may hold, whatever its siteinfo says.

A wiki's own siteinfo comes first; these help where a text comes without one, or from another wiki than it says.
"""

from collections.abc import Mapping

MEDIA, FILE, CATEGORY, ARTICLE = -2, 6, 14, 0

# These work in every wiki, beside its own names.
_CANONICAL: Mapping[str, int] = {
    "media": MEDIA, "special": -1, "talk": 1, "user": 2, "user talk": 3, "project": 4, "wikipedia": 4, "file": FILE,
    "image": FILE, "file talk": 7, "mediawiki": 8, "template": 10, "help": 12, "category": CATEGORY, "portal": 100,
    "draft": 118, "module": 828, "wp": 4,
}  # fmt: skip
_FILES = (
    "datei|bild|fichier|archivo|imagen|ficheiro|arquivo|imagem|immagine|bestand|afbeelding|plik|grafika|файл|изображение|"
    "зображення|ファイル|画像|파일|그림|文件|檔案|档案|圖像|图像|ملف|صورة|پرونده|תמונה|קובץ|dosya|resim|tập tin|hình|berkas|"
    "gambar|चित्र|ไฟล์|ภาพ|fil|bild|tiedosto|kuva|soubor|fájl|kép|αρχείο|εικόνα|fișier|imagine|fitxer|imatge"
)
_CATEGORIES = (
    "kategorie|catégorie|categoría|categoria|categorie|kategoria|категория|категорія|カテゴリ|분류|分类|分類|تصنيف|رده|"
    "קטגוריה|kategori|thể loại|श्रेणी|หมวดหมู่|luokka|kategória|κατηγορία"
)
CANONICAL: Mapping[str, int] = {
    **_CANONICAL,
    **dict.fromkeys(_FILES.split("|"), FILE),
    **dict.fromkeys(_CATEGORIES.split("|"), CATEGORY),
}

# Sections that are no prose about the subject; a language's own list is beside its prompts.
_HEADINGS = (
    "see also|references|notes|footnotes|citations|sources|bibliography|further reading|external links|gallery|works cited|"
    "einzelnachweise|weblinks|literatur|quellen|anmerkungen|siehe auch|fußnoten|nachweise|"
    "notes et références|références|voir aussi|liens externes|bibliographie|articles connexes|annexes|"
    "referencias|véase también|enlaces externos|bibliografía|notas|fuentes|"
    "referências|ver também|ligações externas|bibliografia|notas e referências|"
    "note|collegamenti esterni|altri progetti|voci correlate|"
    "referenties|bronnen, noten en/of referenties|externe links|externe link|zie ook|literatuur|bronnen|"
    "przypisy|linki zewnętrzne|zobacz też|uwagi|"
    "примечания|литература|ссылки|см. также|комментарии|источники|примітки|література|посилання|джерела|див. також|"
    "脚注|注釈|出典|参考文献|関連項目|外部リンク|関連書籍|각주|주해|참고 문헌|참고문헌|외부 링크|같이 보기|출처|"
    "參考文獻|参考资料|參考資料|外部链接|外部連結|参见|參見|注释|註釋|"
    "مراجع|المراجع|وصلات خارجية|انظر أيضا|انظر أيضًا|هوامش|منابع|پانویس|جستارهای وابسته|پیوند به بیرون|"
    "הערות שוליים|לקריאה נוספת|קישורים חיצוניים|ראו גם|kaynakça|dış bağlantılar|ayrıca bakınız|"
    "مصادر|المصادر|روابط خارجية|الهوامش|ملاحظات|حواشي|اقرأ أيضا|اقرأ أيضًا|طالع أيضا|طالع أيضًا|انظر ايضا|یادداشت‌ها|"
    "सन्दर्भ|संदर्भ|बाहरी कड़ियाँ|बाहरी कड़ियां|इन्हें भी देखें|टिप्पणी|टीका टिप्पणी|তথ্যসূত্র|বহিঃসংযোগ|আরও দেখুন|"
    "tham khảo|liên kết ngoài|xem thêm|chú thích|källor|externa länkar|se även|noter|referenser|litteratur|"
    "referanser|eksterne lenker|se også|kilder|henvisninger|eksterne henvisninger|lähteet|aiheesta muualla|katso myös|"
    "reference|externí odkazy|související články|literatura|poznámky|externé odkazy|referencie|"
    "jegyzetek|források|további információk|kapcsolódó szócikkek|irodalom|"
    "note și referințe|referințe|legături externe|vezi și|παραπομπές|εξωτερικοί σύνδεσμοι|δείτε επίσης|"
    "referències|vegeu també|enllaços externs|referensi|pranala luar|lihat pula|catatan kaki|"
    "อ้างอิง|แหล่งข้อมูลอื่น|ดูเพิ่ม|ביבליוגרפיה"
)
SKIPPED_HEADINGS = frozenset(_HEADINGS.split("|"))

# {{JPN}} shows a flag and a name.
_COUNTRY_CODES = "JPN USA GBR FRA DEU ITA CHN KOR RUS ESP IND CAN PRC ROC TWN"
_COUNTRY_NAMES: Mapping[str, str] = {
    "ja": "日本|アメリカ合衆国|イギリス|フランス|ドイツ|イタリア|中国|韓国|ロシア|スペイン|インド|カナダ|中国|中華民国|台湾",
    "zh": "日本|美国|英国|法国|德国|意大利|中国|韩国|俄罗斯|西班牙|印度|加拿大|中国|中华民国|台湾",
    "ko": "일본|미국|영국|프랑스|독일|이탈리아|중국|대한민국|러시아|스페인|인도|캐나다|중국|중화민국|대만",
    "en": "Japan|United States|United Kingdom|France|Germany|Italy|China|South Korea|Russia|Spain|India|Canada|China|"
    "Republic of China|Taiwan",
}
_CODES = _COUNTRY_CODES.lower().split()


def country(code: str, wiki: str) -> str:
    """The name that a wiki shows for a country's code in small letters; "" for other codes."""
    names = _COUNTRY_NAMES.get(wiki, _COUNTRY_NAMES["en"]).split("|")
    return names[_CODES.index(code)] if code in _CODES else ""
